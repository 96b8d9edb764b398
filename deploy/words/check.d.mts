export interface ProseLine {
  readonly line: number;
  readonly text: string;
}
export interface FoundPhrase {
  readonly line: number;
  readonly phrase: string;
  readonly remedy: string;
}
export function commentLines(file: string, text: string): readonly ProseLine[];
export function findPhrases(lines: readonly ProseLine[]): readonly FoundPhrase[];
