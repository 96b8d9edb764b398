/**
 * Named networks of Docker while daemons, containers, hosts and the store fail at random, on three hosts, and how long
 * it takes to heal. Ends with an error when something does not.
 *
 *     npm run bench -- named-chaos --minutes 10 [--engines own|newest] [--seed N]
 */

import { FULL_TIMES, runChaos, SHORT_TIMES } from "../support/chaos/chaos.ts";
import { NEWEST, OWN } from "../support/engines.ts";
import type { Bench } from "./support/report.ts";

const DEFAULT_MINUTES = 10;

/** Not among all benchmarks: it looks for faults, and lasts as long as it is told to. */
export const isByHand = true;

export const bench: Bench = async (report, { isQuick, minutes, engines, seed, only }) => {
  const chosen = engines === "newest" ? NEWEST : OWN;
  const durationMs = (minutes ?? (isQuick ? 1 : DEFAULT_MINUTES)) * 60_000;
  const times = isQuick ? SHORT_TIMES : FULL_TIMES;
  report.note(`seed ${seed}, on ${chosen.name}`);
  const startMs = performance.now();
  const tell = (line: string): void => {
    report.note(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(7)} s  ${line}`);
  };
  const { rounds, healedMs, callMs, addresses } = await runChaos({
    ...{ engines: chosen, seed, durationMs, times, tell },
    ...(only !== null && { only }),
  });
  report.note(`${rounds} rounds healed; ${addresses} addresses read and compared`);
  report.figure({ name: "healed after", unit: "ms", values: healedMs });
  for (const [method, values] of callMs) {
    report.figure({ name: `dockerd waited for ${method}`, unit: "ms", values });
    report.figure({ name: `longest wait for ${method}`, unit: "ms", values: [Math.max(...values)] });
  }
};
