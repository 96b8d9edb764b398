/** How long dockerd waited for tulled, from logs in JSON at level debug. */

import { readFileSync } from "node:fs";

/** By method of the plugin, milliseconds. */
export function readCallTimes(logFiles: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const times = new Map<string, number[]>();
  for (const line of logFiles.flatMap((file) => readFileSync(file, "utf8").split("\n"))) {
    const found = /"call of the engine","method":"([\w.]+)","durationMs":(\d+)/.exec(line);
    if (found === null) continue;
    const [, method = "", ms] = found;
    const known = times.get(method) ?? [];
    known.push(Number(ms));
    times.set(method, known);
  }
  return times;
}
