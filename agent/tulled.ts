/**
 * The daemon's entry: reads what it was told, opens the edges, runs one network until it is asked to stop.
 *
 * Exit codes: 0 after --help, --version or a clean stop; 1 for anything that a person must put right.
 */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { systemClock } from "../ipam/clock.ts";
import { errorFields, type Logger } from "../ipam/log.ts";
import { type AgentConfig, type LoadedConfig, loadConfig, reloadConfig } from "./config/config.ts";
import { helpText } from "./config/flag-help.ts";
import { Identity } from "./host/identity.ts";
import { requireNetworkPrivilege } from "./host/privilege.ts";
import { NetworkAgent } from "./network/network-agent.ts";
import { openConfiguredStore } from "./network/open-store.ts";
import { serveControl } from "./report/control.ts";
import { serveHealth } from "./report/health.ts";
import { type AdjustableLogger, createLogger } from "./report/log.ts";
import { collectAfterStart, keepYoungSpaceSmall } from "./report/memory.ts";
import { Metrics } from "./report/metrics.ts";
import { openNotifier, type ServiceNotifier } from "./report/sd-notify.ts";
import { ServiceStatus } from "./report/service-status.ts";
import { errorLine } from "./terminal/error-line.ts";
import { VERSION } from "./version.ts";

async function main(): Promise<number> {
  const request = await loadConfig(process.argv.slice(2), process.env);
  if (request.action === "help") process.stdout.write(helpText());
  else if (request.action === "version") process.stdout.write(`tulled ${VERSION}\n`);
  else await runDaemon(request);
  return 0;
}

async function runDaemon(loaded: LoadedConfig): Promise<void> {
  requireNetworkPrivilege();
  keepYoungSpaceSmall();
  const { config } = loaded;
  const notifier = openNotifier(process.env, process.pid);
  const service = new ServiceStatus(notifier);
  const logger = service.listenTo(createLogger({ ...config.log, now: () => new Date() }));
  for (const warning of loaded.warnings) logger.warn("configuration", { warning });
  const stop = new AbortController();
  // Every part of the daemon listens to it, which Node would report as a leak.
  setMaxListeners(0, stop.signal);
  const metrics = new Metrics();
  metrics.set("tulle_build_info", 1, { version: VERSION });
  const random = Math.random;
  const dateMs = Date.now;
  const connection = await openConfiguredStore(config.store, {
    log: logger,
    clock: systemClock,
    random,
    dateMs,
  });
  const identity = await Identity.load({ stateDir: config.files.stateDir, randomBytes, log: logger });
  const agent = new NetworkAgent({
    config,
    connection,
    identity,
    clock: systemClock,
    random,
    logger,
    metrics,
    version: VERSION,
    onReady: () => {
      service.ready();
      collectAfterStart();
    },
  });
  service.follow(agent);
  stopOnSignals(stop, logger, notifier);
  reloadOnHangup(loaded, logger, service, (next) => agent.setFirewall(next.firewall));
  const watchdog = keepWatchdog(notifier);
  const control = await serveControl(config.files.runDir, {
    "/status": () => agent.status(),
    "/summary": () => service.text,
  });
  const health = config.health
    ? await serveHealth({
        host: String(config.health.host ?? "0.0.0.0"),
        port: config.health.port,
        isReady: () => agent.isReady,
        metrics,
      })
    : null;
  try {
    logger.info("started", { version: VERSION, store: connection.description, pid: process.pid });
    await agent.run(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    stop.abort();
    clearInterval(watchdog);
    await Promise.all([control.close(), health?.close(), connection.close()]);
    service.close();
    notifier.close();
  }
  logger.info("stopped; the data path stays", {});
}

function stopOnSignals(stop: AbortController, logger: Logger, notifier: ServiceNotifier): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      logger.info("stopping", { signal });
      notifier.stopping();
      stop.abort(new Error(`stopped by ${signal}`));
    });
  }
}

function reloadOnHangup(
  first: LoadedConfig,
  logger: AdjustableLogger,
  service: ServiceStatus,
  apply: (config: AgentConfig) => void,
): void {
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
}

function keepWatchdog(notifier: ServiceNotifier): NodeJS.Timeout | undefined {
  if (notifier.watchdogMs === null) return undefined;
  const timer = setInterval(() => notifier.watchdog(), notifier.watchdogMs / 2);
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
