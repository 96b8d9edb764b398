/**
 * `npm run bench`: runs the named benchmarks, or all. deploy/bench.mjs bundles this file and starts it with the list of
 * benchmarks and what the command line asks for (deploy/bench-arguments.mjs).
 */

import type { BenchArguments } from "../../deploy/bench-arguments.mjs";
import { record } from "./support/record.ts";
import { type Bench, Report } from "./support/report.ts";

/** Runs the benchmarks that the arguments name. */
export async function main(
  benches: Readonly<Record<string, () => Promise<{ bench: Bench; isByHand?: boolean }>>>,
  { names, isRecorded, ...options }: BenchArguments,
): Promise<void> {
  const report = new Report();
  report.begin(options.compare);
  for (const [name, load] of Object.entries(benches)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const { bench, isByHand = false } = await load();
    if (isByHand && names.length === 0) continue;
    report.open(name);
    await bench(report, { ...options, seed: options.seed ?? Date.now() % 2 ** 31 });
    if (isRecorded) record(report.machine, report.summaries);
  }
}
