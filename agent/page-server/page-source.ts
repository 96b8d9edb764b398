/** Collects what the page shows from the parts of the daemon. Reads; changes nothing. */

import type { Clock } from "../../ipam/clock.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { KeptRecord } from "../health-records/health-feed.ts";
import type { ShownNetwork } from "../network/shown-network.ts";
import { causeFindings, findingSentence } from "../probes/broken-paths.ts";
import type { EventLog } from "../report/event-log.ts";
import type { NetworkSummary } from "../report/status.ts";
import { HostList } from "./host-list.ts";
import { ownData } from "./own-host.ts";
import type { OwnData, PageData } from "./page-data.ts";
import { PairList } from "./pair-list.ts";

export interface PageSourceOptions {
  readonly clock: Clock;
  readonly version: string;
  /** The network whose hosts are shown; null before it is joined. */
  readonly network: () => ShownNetwork | null;
  /** What `tulle status` shows of it: some milliseconds of work. */
  readonly report: () => NetworkSummary;
  readonly health: { readonly records: ReadonlyMap<string, KeptRecord> };
  /** Null where named networks are off. */
  readonly named: () => NamedNetworksView | null;
  readonly events: Pick<EventLog, "count">;
}

/** Between two readings of this host's status. */
const STATUS_MS = 5_000;

export class PageSource {
  readonly #options: PageSourceOptions;
  readonly #hosts = new HostList();
  readonly #pairs = new PairList();
  #own: OwnData | null = null;
  #ownText = "";
  #ownMs = Number.NEGATIVE_INFINITY;
  #named: NamedNetworksView | null = null;
  #namedRevision = 0;

  constructor(options: PageSourceOptions) {
    this.#options = options;
  }

  /** Everything, now. What has not changed since the last call is the same object, section by section. */
  collect(): PageData {
    const { clock, network: shown, health, events, named } = this.#options;
    const now = Math.floor(clock.monotonicMs() / 1000);
    const network = shown();
    const view = named();
    if (view !== this.#named) this.#namedRevision += 1;
    this.#named = view;
    const hosts = network === null ? [] : this.#hosts.update(network);
    const { pairs, counted } =
      network === null
        ? { pairs: [], counted: {} }
        : this.#pairs.update({ network, reports: health.records.values(), nowSeconds: now });
    const isProbed = network === null || network.healthOf !== null;
    return {
      now,
      self: network?.own.key ?? null,
      own: this.#ownData(network),
      hosts,
      pairs,
      counted,
      notes: isProbed ? [] : ["This host sends no probes: round trips and its own broken paths are missing."],
      revisions: { events: events.count, networks: view === null ? null : this.#namedRevision },
    };
  }

  #ownData(network: ShownNetwork | null): OwnData {
    const { clock, report, version } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#own !== null && nowMs - this.#ownMs < STATUS_MS) return this.#own;
    this.#ownMs = nowMs;
    const healthOf = network?.healthOf ?? null;
    const prober = healthOf === null ? null : { health: healthOf };
    const peers = network?.peers ?? new Map<LeaseKey, Lease>();
    const findings = causeFindings({
      peers: peers.keys(),
      held: new Set(),
      prober,
      hostNameOf: (key) => network?.profileOf(peers.get(key)?.attrs.nodeId ?? null)?.name ?? null,
      limits: [],
      storeProblem: null,
    });
    const shown = new Set(findings.map(findingSentence));
    const own = ownData(report(), version, shown);
    const text = JSON.stringify(own);
    if (this.#own === null || text !== this.#ownText) this.#own = own;
    this.#ownText = text;
    return this.#own;
  }
}
