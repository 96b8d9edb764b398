/** A measure of the machine itself, by which figures of different machines can be compared: a Node that does nothing. */

import { spawnSync } from "node:child_process";
import type { Bench } from "./support/report.ts";

export const bench: Bench = async (report, { isQuick }) => {
  const values = Array.from({ length: isQuick ? 3 : 20 }, () => {
    const startMs = performance.now();
    spawnSync(process.execPath, ["-e", "0"]);
    return performance.now() - startMs;
  });
  report.figure({ name: "node -e 0", unit: "ms", values });
};
