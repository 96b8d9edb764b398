/**
 * The page of a daemon: listens, follows the health records of all hosts, and tells watchers once a second what is new.
 *
 * With no watcher nothing is collected. The control plane waits for nothing here.
 */

import { type Clock, pause } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Logger } from "../../ipam/log.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { UiSettings } from "../config/ui-settings.ts";
import { HealthFeed } from "../health-records/health-feed.ts";
import { deleteOrphans } from "../health-records/orphans.ts";
import type { ShownNetwork } from "../network/shown-network.ts";
import type { EventLog } from "../report/event-log.ts";
import { closeListener } from "../report/listener.ts";
import type { NetworkSummary } from "../report/status.ts";
import { Access } from "./access.ts";
import { ownCapacity } from "./capacity.ts";
import { eventData, MOST_EVENTS_SHOWN, networkData } from "./lists.ts";
import { type PageFiles, readPageFiles } from "./page-files.ts";
import { PageListener } from "./page-listener.ts";
import { PageModel } from "./page-model.ts";
import { createPageServer } from "./page-server.ts";
import { PageSource } from "./page-source.ts";
import { readUiToken } from "./ui-token.ts";
import { Watchers } from "./watchers.ts";

export interface PageServiceOptions {
  readonly settings: UiSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  readonly dateMs: () => number;
  readonly version: string;
  readonly store: Pick<NetworkStore, "feed" | "records">;
  readonly network: () => ShownNetwork | null;
  readonly report: () => NetworkSummary;
  readonly named: () => NamedNetworksView | null;
  readonly events: EventLog;
  /** Default: those beside the program. */
  readonly files?: PageFiles;
}

/** Shortest time between two updates of the page. */
const TICK_MS = 1_000;
/** What collecting took may be so small a part of the time until the next update: a busy host has rarer ones. */
const SHARE = 50;
const LONGEST_TICK_MS = 5_000;

export class PageService {
  readonly #listener: PageListener;
  readonly #health: HealthFeed;
  readonly #close: () => Promise<void>;

  private constructor(listener: PageListener, health: HealthFeed, close: () => Promise<void>) {
    this.#listener = listener;
    this.#health = health;
    this.#close = close;
  }

  /** What is wrong with the page and with what it reads, one sentence each. */
  get problems(): readonly string[] {
    return [this.#listener.problem, this.#health.problem].filter((problem) => problem !== null);
  }

  /** Listens as soon as it can, and works until `signal` fires. Throws ConfigError when the token cannot be used. */
  static async start(options: PageServiceOptions, signal: AbortSignal): Promise<PageService> {
    const { settings, clock, logger, faults, dateMs, store, network, named, events } = options;
    const token = settings.tokenFile === null ? null : readUiToken(settings.tokenFile);
    const health = new HealthFeed(store.records);
    const source = new PageSource({ ...options, health });
    const model = new PageModel(() => source.collect());
    const capacity = ownCapacity();
    const watchers = new Watchers(clock, capacity.watchers);
    const monotonicMs = (): number => clock.monotonicMs();
    const server = createPageServer({
      ...{ faults, watchers, capacity, files: options.files ?? readPageFiles() },
      access: new Access({ token, port: settings.port, monotonicMs, dateMs }),
      wholeState: () => {
        // Others are told by the next tick; the first one would see what is long past.
        if (watchers.count === 0) model.refresh();
        return model.all();
      },
      lists: {
        "/api/events": () => eventData(events.latest(MOST_EVENTS_SHOWN)),
        "/api/networks": () => networkData(named()),
      },
    });
    const listener = new PageListener({ server, settings, clock, logger });
    await listener.open();
    const hosts = (): ReadonlySet<string> | null => nodeIdsOf(network());
    const working = Promise.all([
      listener.keepOpening(signal),
      health.run(signal),
      deleteOrphans({ store, clock, logger, records: () => health.records, hosts }, signal),
      keepTelling({ clock, faults, watchers, model }, signal),
    ]).catch((error: unknown) => {
      if (!signal.aborted) faults.failed("the page", error);
    });
    return new PageService(listener, health, async () => {
      watchers.close();
      await Promise.all([closeListener(server), working]);
    });
  }

  /** Call it once, after the signal has fired. */
  close(): Promise<void> {
    return this.#close();
  }
}

interface Telling {
  readonly clock: Clock;
  readonly faults: Faults;
  readonly watchers: Watchers;
  readonly model: PageModel;
}

async function keepTelling({ clock, faults, watchers, model }: Telling, signal: AbortSignal): Promise<void> {
  let pauseMs = TICK_MS;
  const tick = guarded(faults, "telling watchers of the page", () => {
    const startMs = clock.monotonicMs();
    const update = model.refresh();
    const tookMs = clock.monotonicMs() - startMs;
    pauseMs = Math.min(LONGEST_TICK_MS, Math.max(TICK_MS, tookMs * SHARE));
    return watchers.publish(update, { all: () => model.all(), sign: () => model.sign() });
  });
  while (!signal.aborted) {
    await pause(clock, pauseMs, signal);
    if (watchers.count > 0 && !signal.aborted) tick();
  }
}

function nodeIdsOf(network: ShownNetwork | null): ReadonlySet<string> | null {
  if (network === null) return null;
  const ids = [...network.peers.values()].flatMap(({ attrs }) => attrs.nodeId ?? []);
  return new Set([network.own.nodeId, ...ids]);
}
