/** What `npm run bench` is asked for. */
export interface BenchArguments {
  readonly isHelp: boolean;
  readonly isRecorded: boolean;
  /** None means all. */
  readonly names: readonly string[];
  readonly compare: readonly string[] | null;
  readonly isQuick: boolean;
  readonly minutes: number | null;
  readonly engines: "own" | "newest";
  /** Null where the time chooses one. */
  readonly seed: number | null;
  readonly only: readonly string[] | null;
}
export function usage(names: readonly string[]): string;
/** Throws with a line that names what is wrong and what is allowed. */
export function readArguments(words: readonly string[], names: readonly string[]): BenchArguments;
