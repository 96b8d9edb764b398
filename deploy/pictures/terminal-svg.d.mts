import type { Look } from "./screen.mjs";
export interface TerminalPicture {
  readonly columns: number;
  readonly command: string;
  readonly title: string;
  readonly label: string;
  readonly startMs: number;
}
export function terminalSvg(looks: readonly Look[], picture: TerminalPicture): string;
