/**
 * Where text for people goes, and whether it may carry colours there.
 *
 * Nothing that a terminal would act on gets out of here but line breaks, tabs and the styles below, whatever a
 * command writes: names and values in it come from stores, files and flags.
 */

import { escapeText, formatJson } from "../../ipam/escape.ts";
import type { Environment } from "../config/settings.ts";
import { escapeSentence, SENTENCE_LIMIT } from "./error-line.ts";
import { overScreen, type ScreenSize } from "./screen.ts";

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

/** Text with the style that it is to be shown in. */
export interface StyledText {
  readonly style: Style;
  readonly text: string;
}

export interface Terminal {
  /** Writes text of several lines as it is. Values in it must not hold line breaks: `line` and tables see to it. */
  write(text: string): void;
  /** Writes one line, escaped and bounded; the line break is added. */
  line(text: string): void;
  /** Writes a value as indented JSON, for programs. */
  json(value: object | null): void;
  /** Goes back to the start of a line that is not ended yet, so that it can be written over. */
  restartLine(): void;
  /** Writes text as `write` does, in place of all that the screen shows: its first lines, as many as fit. */
  showInstead(text: string): void;
  /** Calls the listener when the size of the screen has changed, until the signal fires. */
  followSize(listener: () => void, signal: AbortSignal): void;
  /** One line of text, escaped and bounded, in a style; without the style where none is shown. */
  style(style: Style, text: string): string;
  /** True when a person looks at it. */
  readonly isInteractive: boolean;
  /** Characters per line; null when it is not a terminal. */
  readonly columns: number | null;
}

/** What a terminal needs of a stream: process.stdout and process.stderr fit. */
export interface TextStream {
  write(text: string): unknown;
  /** A terminal's stream emits it on SIGWINCH. */
  on?(event: "resize", listener: () => void): unknown;
  off?(event: "resize", listener: () => void): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
}

/** Colours only where a person looks and has not switched them off (no-color.org, terminfo's dumb terminal). */
export function openTerminal(stream: TextStream, environment: Environment): Terminal {
  const isInteractive = stream.isTTY ?? false;
  const isStyled = isInteractive && !environment.NO_COLOR && environment.TERM !== "dumb";
  return {
    write: (text) => void stream.write(escapeLines(text)),
    line: (text) => void stream.write(`${escapeSentence(text)}\n`),
    json: (value) => void stream.write(`${formatJson(value, 2)}\n`),
    restartLine: () => void stream.write("\r"),
    showInstead: (text) => void stream.write(overScreen(escapeLines(text), sizeOf(stream))),
    followSize: (listener, signal) => {
      stream.on?.("resize", listener);
      signal.addEventListener("abort", () => stream.off?.("resize", listener), { once: true });
    },
    style: (style, text) => {
      const escaped = escapeText(text, SENTENCE_LIMIT);
      return isStyled ? styled(style, escaped) : escaped;
    },
    isInteractive,
    columns: isInteractive ? (stream.columns ?? null) : null,
  };
}

/** Null where it is not known: some terminals have 0 rows. */
function sizeOf({ rows = 0, columns = 0 }: TextStream): ScreenSize | null {
  return rows > 0 && columns > 0 ? { rows, columns } : null;
}

function styled(style: Style, text: string): string {
  const [on, off] = STYLES[style];
  return `\x1b[${on}m${text}\x1b[${off}m`;
}

const STYLE_CODES = Object.values(STYLES).flat().join("|");
/** What `write` lets through: our styles, line breaks and tabs. */
const PASSED = new RegExp(`(\\x1b\\[(?:${STYLE_CODES})m|[\\n\\t])`);

function escapeLines(text: string): string {
  return text
    .split(PASSED)
    .map((part, index) => (index % 2 === 1 ? part : escapeText(part, Number.POSITIVE_INFINITY)))
    .join("");
}
