/** A process whose data path waits for packets, and that ends with an uncaught error. */

import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { TunnelRunner } from "../../backends/datapath/tunnel-runner.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";
import { NOTHING_KEPT } from "./nothing-kept.ts";

const runner = new TunnelRunner(
  {
    device: process.argv[3] ?? "",
    listeners: [{ address: "127.0.0.1", port: 8285 }],
    port: 8285,
    program: pathToFileURL(process.argv[2] ?? ""),
  },
  {
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    faults: new Faults(silentLogger),
    stateDir: "/nonexistent",
    descriptors: NOTHING_KEPT,
    onChange: () => undefined,
  },
);
const isStarting = (): boolean => runner.problems.some((problem) => problem.includes("starting"));
while (isStarting()) await sleep(10);
await sleep(100);
throw new Error("the daemon failed");
