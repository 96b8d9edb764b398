/**
 * Many hosts in one process: each joins, keeps its lease and follows its peers over a connection of its own.
 *
 * Started by keepers.test.ts, which asks for reports over the process' channel. Arguments: endpoint, prefix, number
 * of the first host, number of hosts, time to live in seconds.
 */

import { Address } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import { AllocatingClaimer } from "../../../ipam/leases/allocating-claimer.ts";
import type { LeaseAttrs } from "../../../ipam/leases/lease.ts";
import { OwnLease } from "../../../ipam/leases/own-lease.ts";
import { acquirePatiently } from "../../../ipam/leases/patient-claim.ts";
import { PeerTable } from "../../../ipam/leases/peer-table.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { NetworkStore, StoreMessage } from "../../../ipam/stores/contracts.ts";
import { openEtcdStore } from "../../../ipam/stores/etcd/store.ts";

export interface HostReport {
  readonly host: number;
  readonly key: string | null;
  readonly nodeId: string;
  readonly state: string;
  readonly peers: number;
  /** Peers that were taken out of use since the host knew all of them. */
  readonly removed: number;
  /** How often the lease was lost or in conflict. */
  readonly losses: number;
}

const [endpoint = "", prefix = "", first = "0", count = "0", ttl = "0"] = process.argv.slice(2);
const ttlSeconds = Number(ttl);
const EXPIRE_EVERY_MS = 50;

class Host {
  readonly #number: number;
  readonly #attrs: LeaseAttrs;
  readonly #store: NetworkStore;
  /** One for each host, as each daemon has one. */
  readonly #forever = new AbortController().signal;
  #lease: OwnLease | null = null;
  #peers: PeerTable | null = null;
  #known = new Set<string>();
  #removed = 0;
  #losses = 0;

  constructor(number: number) {
    const hex = number.toString(16).padStart(4, "0");
    this.#number = number;
    this.#attrs = {
      publicAddress: { 4: Address.parse(`192.168.${number >> 8}.${number & 255}`) },
      backendType: "vxlan",
      backendData: { 4: { VNI: 1, VtepMAC: `02:00:00:00:${hex.slice(0, 2)}:${hex.slice(2)}` } },
      nodeId: hex.padStart(32, "0"),
    };
    const connection = openEtcdStore(
      { endpoints: [endpoint] },
      { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now },
    );
    this.#store = connection.network(prefix);
  }

  async run(): Promise<void> {
    const watch = this.#store.feed.watch(this.#forever, ({ isFollowed }) => {
      this.#peers?.noteStore(isFollowed, systemClock.monotonicMs());
    });
    const messages = watch[Symbol.asyncIterator]();
    const { value: listing } = await messages.next();
    if (listing?.type !== "list" || listing.config === null) throw new Error("no network configuration");
    const config = parseNetworkConfig(listing.config);
    const edges = { clock: systemClock, logger: silentLogger, random: Math.random };
    const claimer = new AllocatingClaimer({ ...edges, store: this.#store, ttlSeconds });
    const common = { ...edges, claimer, feed: this.#store.feed };
    const request = { config, attrs: this.#attrs, previous: null, local: [] };
    const membership = await acquirePatiently(common, request, listing, this.#forever);
    const onState = ({ state }: { readonly state: string }): void => {
      if (state !== "held") this.#losses += 1;
    };
    const networks = Object.values(config.families).map(({ network }) => network);
    this.#lease = new OwnLease(
      { ...common, networks, attrs: this.#attrs, ttlSeconds, renewMarginSeconds: 1, onState },
      membership,
    );
    this.#peers = new PeerTable({
      networks,
      ownAddresses: this.#attrs.publicAddress,
      ownIdentities: [],
      local: [],
      leaveGraceMs: 2000,
      holdDownMs: 30_000,
      logger: silentLogger,
      rejectPeer: () => null,
      rejectLocally: () => null,
      identitiesOf: () => [],
    });
    this.#peers.setOwnKey(membership.entry.key);
    this.#apply(listing);
    void this.#lease.run(this.#forever);
    for (;;) {
      const { value: message, done } = await messages.next();
      if (done) return;
      this.#peers.suspectStore(this.#lease.troubleMs);
      this.#apply(message);
      this.#lease.observe(message);
    }
  }

  expire(): void {
    if (this.#peers?.expire(systemClock.monotonicMs())) this.#count();
  }

  report(): HostReport {
    return {
      host: this.#number,
      key: this.#lease?.entry.key ?? null,
      nodeId: this.#attrs.nodeId ?? "",
      state: this.#lease?.state.state ?? "joining",
      peers: this.#peers?.peers.size ?? 0,
      removed: this.#removed,
      losses: this.#losses,
    };
  }

  #apply(message: StoreMessage): void {
    this.#peers?.apply(message, systemClock.monotonicMs());
    this.#count();
  }

  #count(): void {
    for (const key of this.#peers?.takeChanged() ?? []) {
      if (this.#peers?.peers.has(key)) this.#known.add(key);
      else if (this.#known.delete(key)) this.#removed += 1;
    }
  }
}

const hosts = Array.from({ length: Number(count) }, (_, index) => new Host(Number(first) + index));
setInterval(() => {
  for (const host of hosts) host.expire();
}, EXPIRE_EVERY_MS);
process.on("message", () => process.send?.(hosts.map((host) => host.report())));
process.on("disconnect", () => process.exit(0));
await Promise.all(hosts.map(async (host) => await host.run()));
