/**
 * A daemon with two networks, for tests: the first one as tulled's flags describe it, and one named `blue` beside it.
 *
 * Arguments: tulled's flags. BLUE_PREFIX and BLUE_SUBNET_FILE describe the second network. At SIGUSR2 what follows the
 * first network's store fails.
 */

import { randomBytes } from "node:crypto";
import process from "node:process";
import { loadConfig } from "../../agent/config/config.ts";
import { Identity } from "../../agent/host/identity.ts";
import { firstNetwork } from "../../agent/network/network-settings.ts";
import { Networks } from "../../agent/network/networks.ts";
import { openConfiguredStore } from "../../agent/network/open-store.ts";
import { serveControl } from "../../agent/report/control.ts";
import { createLogger } from "../../agent/report/log.ts";
import { Metrics } from "../../agent/report/metrics.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import { NOTHING_KEPT } from "./nothing-kept.ts";
import { poison } from "./poisoned-store.ts";

const loaded = await loadConfig(process.argv.slice(2), {});
if (loaded.action !== "run") throw new Error("give the flags of a daemon");
const { config } = loaded;
const logger = createLogger({ ...config.log, now: () => new Date() });
const random = Math.random;
const metrics = new Metrics();
const connection = await openConfiguredStore(config.store, {
  log: logger,
  clock: systemClock,
  random,
  dateMs: Date.now,
});
const identity = await Identity.load({ stateDir: config.files.stateDir, randomBytes, log: logger });
const first = firstNetwork(config);
const blue = {
  ...first,
  name: "blue",
  prefix: process.env.BLUE_PREFIX ?? "",
  subnetFile: process.env.BLUE_SUBNET_FILE ?? "",
};
const faults = new Faults(logger);
poison(connection, first.prefix, new Promise((resolve) => process.once("SIGUSR2", () => resolve())));
const networks = new Networks({
  runtime: {
    clock: systemClock,
    random,
    logger,
    metrics,
    faults,
    port: RtnetlinkPort.open(),
    netlink: NetlinkConnection.open(),
    descriptors: NOTHING_KEPT,
  },
  networks: [first, blue],
  connection,
  identity,
  version: "test",
  profile: { name: "test", version: "test", kernel: "test", backends: [] },
  onReady: () => logger.info("all networks are ready"),
});
const routes = {
  "/status": () => networks.reports()[0]?.status ?? null,
  "/summary": () => networks.summary,
  "/networks": () => networks.reports(),
  "/metrics": () => metrics.render(),
};
await serveControl(config.files.runDir, routes, faults);
await networks.run(new AbortController().signal);
