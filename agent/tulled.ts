/**
 * The daemon's entry: reads its configuration, opens the edges, runs its networks until a signal stops it.
 *
 * Exit codes: 0 after --help, --version or a clean stop; 1 for anything that a person must correct.
 */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { hostname, release } from "node:os";
import { RtnetlinkPort } from "../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../backends/netlink/connection.ts";
import { systemClock } from "../ipam/clock.ts";
import { Faults, guarded } from "../ipam/faults.ts";
import { type HostProfile, profileOf } from "../ipam/hosts/host-profile.ts";
import { errorFields, type Logger } from "../ipam/log.ts";
import { type AgentConfig, type LoadedConfig, loadConfig, reloadConfig } from "./config/config.ts";
import { helpText } from "./config/flag-help.ts";
import type { Settings } from "./config/settings.ts";
import { EngineService } from "./engines/engine-service.ts";
import { backendAbilities } from "./host/backend-abilities.ts";
import { Identity } from "./host/identity.ts";
import { lockStateDir } from "./host/instance-lock.ts";
import { requireNetworkPrivilege } from "./host/privilege.ts";
import { type Listeners, openListeners } from "./listeners.ts";
import { firstNetwork } from "./network/network-settings.ts";
import { Networks } from "./network/networks.ts";
import { openConfiguredStore } from "./network/open-store.ts";
import type { Runtime } from "./network/runtime.ts";
import { DescriptorStore } from "./report/descriptor-store.ts";
import { EventLog } from "./report/event-log.ts";
import { setHostFigures } from "./report/host-figures.ts";
import { type AdjustableLogger, createLogger } from "./report/log.ts";
import { collectAfterStart, keepYoungSpaceSmall } from "./report/memory.ts";
import { Metrics } from "./report/metrics.ts";
import { openNotifier, type ServiceNotifier } from "./report/sd-notify.ts";
import { ServiceStatus } from "./report/service-status.ts";
import { catchStrayErrors } from "./report/stray-errors.ts";
import { VERSION } from "./report/version.ts";
import { errorLine } from "./terminal/error-line.ts";
import { print } from "./terminal/print.ts";

/** Before the garbage of the start is collected (report/memory.ts). */
const LOG_WRITER_MS = 900;

async function main(): Promise<number> {
  const request = await loadConfig(process.argv.slice(2), process.env);
  if (request.action === "help") await print(process.stdout, helpText());
  else if (request.action === "version") await print(process.stdout, `tulled ${VERSION}\n`);
  else await runDaemon(request);
  return 0;
}

async function runDaemon(loaded: LoadedConfig): Promise<void> {
  requireNetworkPrivilege();
  const { config } = loaded;
  const notifier = openNotifier(process.env, process.pid);
  const { events, metrics, logger } = openReports(config.log);
  const faults = new Faults(logger);
  const service = new ServiceStatus(notifier, faults);
  for (const warning of loaded.warnings) logger.warn("configuration", { warning });
  const stop = new AbortController();
  // Every part of the daemon listens to it, which Node would report as a leak.
  setMaxListeners(0, stop.signal);
  const descriptors = new DescriptorStore(process.env, process.pid, notifier);
  const runtime = openRuntime(logger, metrics, faults, descriptors);
  const { clock, random } = runtime;
  const edges = { log: logger, clock, random, dateMs: Date.now };
  const connection = await openConfiguredStore(config.store, edges);
  // Not before the store's client is loaded: V8 takes no code from a cache when its flags have changed.
  keepYoungSpaceSmall();
  const { stateDir, runDir } = config.files;
  const identity = await Identity.load({ stateDir, randomBytes, log: logger });
  const stateLock = await lockStateDir(stateDir);
  const keepingEvents = events.keep(stateDir, clock, faults, stop.signal);
  const settings = firstNetwork(config);
  const engines = new EngineService({
    ...{ runtime, docker: config.docker, firewall: config.firewall, identity, stateDir, runDir },
    ...{ hostName: hostname(), version: VERSION, randomBytes, dateMs: Date.now },
    store: connection.network(settings.prefix),
    isLeaseHeld: () => networks.isLeaseHeld,
  });
  let listeners: Listeners | null = null;
  const networks = new Networks({
    ...{ runtime, connection, identity, version: VERSION },
    networks: [settings],
    profile: hostProfile(),
    onAttachment: (attachment, plans) => engines.attached(attachment, plans),
    hostProblems: () => [...engines.problems(), ...(listeners?.problems ?? [])],
    onReady: () => {
      service.ready();
      descriptors.discardRest();
      loadLogWriter(logger, faults);
      collectAfterStart(faults);
    },
  });
  metrics.beforeRender(() => setHostFigures(metrics, networks.reports(), engines.status()));
  service.follow(() => networks.summary);
  const recover = (reason: string): void => networks.resync(reason);
  catchStrayErrors({ faults, clock, recover }, stop.signal);
  stopOnSignals(stop, logger, faults, () => {
    notifier.stopping();
    descriptors.end();
  });
  const settingsNow = reloadOnHangup(loaded, logger, service, (next) => networks.setFirewall(next.firewall));
  const watchdog = keepWatchdog(notifier, faults);
  const answering = { config, settings: settingsNow, runtime, connection, networks, engines, events };
  listeners = await openListeners(answering, stop.signal);
  try {
    logger.info("started", { version: VERSION, store: connection.description, pid: process.pid });
    await runBoth(networks, engines, stop);
  } finally {
    stop.abort();
    clearInterval(watchdog);
    await Promise.all([listeners.close(), connection.close(), keepingEvents]);
    await stateLock.release();
    closeRuntime(runtime);
    service.close();
    notifier.close();
  }
  logger.info("stopped; the data path stays", {});
}

/** The log, and what is counted and remembered of its lines. */
function openReports(settings: AgentConfig["log"]) {
  const events = new EventLog();
  const metrics = new Metrics();
  metrics.set("tulle_build_info", 1, { version: VERSION });
  const logger = createLogger({
    ...settings,
    now: () => new Date(),
    onEvent: (line, level) => {
      events.add(line);
      metrics.add("tulle_events_total", 1, { level });
    },
  });
  return { events, metrics, logger };
}

/** The networks decide how the daemon ends; the engines' part ends with them. Rejects with their error. */
async function runBoth(networks: Networks, engines: EngineService, stop: AbortController): Promise<void> {
  const serving = engines.run(stop.signal);
  try {
    await networks.run(stop.signal);
  } catch (error) {
    // What a stop cuts short rejects as well.
    if (!stop.signal.aborted) throw error;
  } finally {
    stop.abort(new Error("the networks ended"));
    await serving;
  }
}

/** What this host says of itself to people. */
function hostProfile(): HostProfile {
  const kernel = release();
  return profileOf({ name: hostname(), version: VERSION, kernel, backends: backendAbilities(kernel) });
}

function openRuntime(
  logger: Logger,
  metrics: Metrics,
  faults: Faults,
  descriptors: DescriptorStore,
): Runtime {
  const port = RtnetlinkPort.open({ dateMs: Date.now });
  const netlink = NetlinkConnection.open();
  return { clock: systemClock, random: Math.random, logger, metrics, faults, port, netlink, descriptors };
}

function closeRuntime({ port, netlink }: Runtime): void {
  port.close();
  netlink.close();
}

/** A moment after the start, which need not wait for it; again when it fails, as without a free descriptor. */
function loadLogWriter(logger: AdjustableLogger, faults: Faults): void {
  const load = guarded(faults, "loading the writer of the log", async () => {
    await logger.loadWriter();
    clearInterval(timer);
  });
  const timer = setInterval(load, LOG_WRITER_MS);
  timer.unref();
}

function stopOnSignals(stop: AbortController, logger: Logger, faults: Faults, onStop: () => void): void {
  const announce = guarded(faults, "announcing the stop", (signal: string) => {
    logger.info("stopping", { signal });
    onStop();
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      announce(signal);
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }
}

/** Reads the configuration again when asked to; returns the settings in force. */
function reloadOnHangup(
  first: LoadedConfig,
  logger: AdjustableLogger,
  service: ServiceStatus,
  apply: (config: AgentConfig) => void,
): () => Settings {
  let current = first;
  const reload = async (): Promise<void> => {
    const next = await loadConfig(process.argv.slice(2), process.env);
    if (next.action !== "run") return;
    const { loaded, applied, refused } = reloadConfig(current, next);
    current = loaded;
    logger.setLevel(loaded.config.log.level);
    apply(loaded.config);
    logger.info("configuration read again", { applied, waitForRestart: refused });
  };
  process.on("SIGHUP", () => {
    service
      .reload(systemClock.monotonicMs(), reload)
      .catch((error: unknown) => logger.error("configuration is not applied", errorFields(error)));
  });
  return () => current.settings;
}

function keepWatchdog(notifier: ServiceNotifier, faults: Faults): NodeJS.Timeout | undefined {
  if (notifier.watchdogMs === null) return undefined;
  const tick = guarded(faults, "the watchdog", () => notifier.watchdog());
  const timer = setInterval(tick, notifier.watchdogMs / 2);
  timer.unref();
  return timer;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(errorLine("tulled", error));
    process.exit(1);
  },
);
