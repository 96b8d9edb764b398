/**
 * A place that text for people goes to, and whether it may carry colours there.
 *
 * Knows nothing of what is written.
 */

import type { Environment } from "../config/settings.ts";

/** Select Graphic Rendition parameters (ECMA-48, 8.3.117): switch on, switch off. */
const STYLES = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;

export type Style = keyof typeof STYLES;

export interface Terminal {
  write(text: string): void;
  /** The text in a style; unchanged where styles are not shown. */
  style(style: Style, text: string): string;
  /** True when a person looks at it. */
  readonly isInteractive: boolean;
  /** Characters per line; null when it is no terminal. */
  readonly columns: number | null;
}

/** What a terminal needs of a stream: process.stdout and process.stderr fit. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Colours only where a person looks and has not switched them off (no-color.org, terminfo's dumb terminal). */
export function openTerminal(stream: TextStream, environment: Environment): Terminal {
  const isInteractive = stream.isTTY ?? false;
  const isStyled = isInteractive && !environment.NO_COLOR && environment.TERM !== "dumb";
  return {
    write: (text) => void stream.write(text),
    style: (style, text) => (isStyled ? styled(style, text) : text),
    isInteractive,
    columns: isInteractive ? (stream.columns ?? null) : null,
  };
}

function styled(style: Style, text: string): string {
  const [on, off] = STYLES[style];
  return `\x1b[${on}m${text}\x1b[${off}m`;
}
