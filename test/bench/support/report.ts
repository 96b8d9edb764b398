/** Prints figures: a line for a person and one of JSON (`npm run bench | grep '^{'`). Judges nothing. */

import { cpus, release } from "node:os";

export interface Figure {
  /** What was measured, for example `cold start, 5,000 leases: all programmed`. */
  readonly name: string;
  readonly unit: "ns" | "ms" | "s" | "MiB" | "Mbit/s" | "packets/s" | "packets" | "bytes" | "";
  /** One value per repetition, in the order they were taken. */
  readonly values: readonly number[];
}

/** What is kept of a figure. */
export interface Summary {
  readonly name: string;
  readonly unit: Figure["unit"];
  readonly median: number;
  readonly p99: number;
  readonly n: number;
}

export interface BenchOptions {
  /** A flag-compatible agent that is measured in alternation with ours; null for ours alone. */
  readonly compare: readonly string[] | null;
  /** Fewer repetitions and smaller sizes: shows that the benchmark runs, not how fast we are. */
  readonly isQuick: boolean;
  /** How long a benchmark without an end of its own runs; null for its default. */
  readonly minutes: number | null;
  readonly engines: "own" | "newest";
  /** Of random choices. */
  readonly seed: number;
  /** Titles of what to choose from; null for all. */
  readonly only: readonly string[] | null;
}

/** A benchmark: a file of this folder exports one as `bench`. */
export type Bench = (report: Report, options: BenchOptions) => Promise<void>;

/** Value below which the fraction `q` of the values lie (nearest rank). NaN without values. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

export class Report {
  readonly machine = describeMachine();
  readonly #summaries = new Map<string, Summary[]>();
  #current: Summary[] = [];

  /** Prints what the figures were measured on, once per run. */
  begin(compared: readonly string[] | null): void {
    this.note(`machine: ${this.machine}`);
    this.#json({ machine: this.machine, compared: compared?.join(" ") ?? null });
  }

  /** The figures that follow are this benchmark's. */
  open(bench: string): void {
    this.note(`\n${bench}`);
    this.#current = [];
    this.#summaries.set(bench, this.#current);
  }

  /** Every figure so far, by benchmark. */
  get summaries(): ReadonlyMap<string, readonly Summary[]> {
    return this.#summaries;
  }

  figure({ name, unit, values }: Figure): void {
    const median = quantile(values, 0.5);
    const p99 = quantile(values, 0.99);
    const text =
      values.length === 1
        ? `${show(median)} ${unit}`
        : `median ${show(median)} ${unit}, p99 ${show(p99)} ${unit} (n=${values.length})`;
    this.note(`${name.padEnd(60)} ${text}`.trimEnd());
    const summary = { name, unit, median, p99, n: values.length };
    this.#current.push(summary);
    this.#json(summary);
  }

  note(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  #json(value: object): void {
    this.note(JSON.stringify(value));
  }
}

function describeMachine(): string {
  const [cpu] = cpus();
  return `${cpus().length} x ${cpu?.model.trim() ?? "?"}, Linux ${release()}, Node ${process.version}`;
}

/** Three digits. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
