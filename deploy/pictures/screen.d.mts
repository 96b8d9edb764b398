export interface Chunk {
  readonly atMs: number;
  readonly text: string;
}
export interface Style {
  readonly weight?: "bold" | "dim";
  readonly colour?: "red" | "green" | "yellow" | "cyan";
}
export interface Span {
  readonly column: number;
  readonly text: string;
  readonly style: Style;
}
export interface Look {
  readonly row: number;
  readonly fromMs: number;
  readonly untilMs: number | null;
  readonly spans: readonly Span[];
}
export function looksOf(chunks: readonly Chunk[]): readonly Look[];
