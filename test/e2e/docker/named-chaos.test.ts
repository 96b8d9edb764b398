/**
 * A minute of chaos on three Docker hosts; `npm run bench -- named-chaos` has more of it. CHAOS_SEED=N repeats a run's
 * choices, though not their timing.
 */

import process from "node:process";
import { expect, it } from "vitest";
import { runChaos, SHORT_TIMES } from "../../support/chaos/chaos.ts";
import { describeWithDocker } from "../../support/docker.ts";

const SEED = Number(process.env.CHAOS_SEED ?? 20_261_128);
const MINUTE_MS = 60_000;

describeWithDocker("named networks in chaos", (engines) => {
  it(
    "heal after each round, and no address is given twice",
    async () => {
      const lines: string[] = [];
      const options = { engines, seed: SEED, durationMs: MINUTE_MS, times: SHORT_TIMES };
      const report = await runChaos({ ...options, tell: (line) => void lines.push(line) }).catch(
        (error: unknown) => {
          throw new Error([`seed ${SEED}`, ...lines, String(error)].join("\n"), { cause: error });
        },
      );
      expect(report.rounds).toBeGreaterThan(1);
      expect(report.addresses).toBeGreaterThan(100);
    },
    10 * MINUTE_MS,
  );
});
