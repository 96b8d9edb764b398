/** Where the daemon answers others: the control socket, the port for health and metrics, and the page. */

import type { StoreConnection } from "../ipam/stores/contracts.ts";
import { shownSettings } from "./bug-report/secrets.ts";
import type { AgentConfig } from "./config/config.ts";
import type { Settings } from "./config/settings.ts";
import type { EngineService } from "./engines/engine-service.ts";
import { firstNetwork } from "./network/network-settings.ts";
import type { Networks } from "./network/networks.ts";
import type { Runtime } from "./network/runtime.ts";
import { PageService } from "./page-server/page-service.ts";
import { type ControlRoutes, serveControl } from "./report/control.ts";
import type { EventLog } from "./report/event-log.ts";
import { serveHealth } from "./report/health.ts";
import { VERSION } from "./report/version.ts";

/** What the answers are made from. */
interface Answering {
  readonly config: AgentConfig;
  /** Those in force: a reload changes them. */
  readonly settings: () => Settings;
  readonly runtime: Runtime;
  readonly connection: StoreConnection;
  readonly networks: Networks;
  readonly engines: EngineService;
  readonly events: EventLog;
}

export interface Listeners {
  /** What is wrong with the page, one sentence each. */
  readonly problems: readonly string[];
  /** Call it once, after the signal has fired. */
  close(): Promise<void>;
}

/** Listens on all that is configured; the page works until `signal` fires. Throws TulleError. */
export async function openListeners(parts: Answering, signal: AbortSignal): Promise<Listeners> {
  const { config, runtime, networks } = parts;
  const { metrics, faults } = runtime;
  const control = await serveControl(config.files.runDir, controlRoutes(parts), faults);
  const health = config.health
    ? await serveHealth({
        host: String(config.health.host ?? "0.0.0.0"),
        port: config.health.port,
        isReady: () => networks.isReady,
        metrics,
        faults,
      })
    : null;
  const page = await startPage(parts, signal);
  return {
    get problems() {
      return page?.problems ?? [];
    },
    close: async () => {
      await Promise.all([control.close(), health?.close(), page?.close()]);
    },
  };
}

function controlRoutes({ settings, networks, engines, events }: Answering): ControlRoutes {
  return {
    "/status": () => networks.reports()[0]?.status ?? null,
    "/summary": () => networks.summary,
    "/networks": () => networks.reports(),
    "/probe-targets": () => networks.targets,
    "/events": () => events.events,
    "/docker": () => engines.status(),
    "/settings": () => ({ pid: process.pid, settings: shownSettings(settings()) }),
  };
}

/** Null where it is not configured. */
async function startPage(parts: Answering, signal: AbortSignal): Promise<PageService | null> {
  const { config, runtime, connection, networks, engines, events } = parts;
  if (config.ui === null) return null;
  const options = {
    ...runtime,
    settings: config.ui,
    version: VERSION,
    events,
    dateMs: Date.now,
    store: connection.network(firstNetwork(config).prefix),
    network: () => networks.shown,
    report: () => networks.firstReport,
    named: () => engines.view,
  };
  return await PageService.start(options, signal);
}
