/**
 * `npm run bench [-- NAME…] [--quick] [--compare "CMD ARG…"] [--record]`: runs the named benchmarks, or all. Those with
 * choices of their own read `--minutes N`, `--engines own|newest`, `--seed N` and `--only TITLE`.
 *
 * deploy/bench.mjs bundles this file and starts it with the list of benchmarks.
 */

import { parseArgs } from "node:util";
import { record } from "./support/record.ts";
import { type Bench, Report } from "./support/report.ts";

/** Runs the benchmarks that the command line names. */
export async function main(
  benches: Readonly<Record<string, () => Promise<{ bench: Bench; isByHand?: boolean }>>>,
): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...{ quick: { type: "boolean" }, compare: { type: "string" }, record: { type: "boolean" } },
      ...{ minutes: { type: "string" }, engines: { type: "string" }, seed: { type: "string" } },
      only: { type: "string", multiple: true },
    },
  });
  const unknown = positionals.find((name) => !Object.hasOwn(benches, name));
  if (unknown !== undefined) {
    throw new Error(`no benchmark is called ${unknown}: choose from ${Object.keys(benches).join(", ")}`);
  }
  const report = new Report();
  const compare = values.compare?.split(" ") ?? null;
  report.begin(compare);
  for (const [name, load] of Object.entries(benches)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const { bench, isByHand = false } = await load();
    if (isByHand && positionals.length === 0) continue;
    report.open(name);
    await bench(report, {
      ...{ compare, isQuick: values.quick ?? false, only: values.only ?? null },
      minutes: values.minutes === undefined ? null : Number(values.minutes),
      engines: values.engines === "newest" ? "newest" : "own",
      seed: Number(values.seed ?? Date.now() % 2 ** 31),
    });
    if (values.record) record(report.machine, report.summaries);
  }
}
