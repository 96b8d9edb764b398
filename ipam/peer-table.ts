/**
 * Folds what the store says into snapshots: which peers there are, which leases are refused and why.
 *
 * A listing replaces everything, a change costs a change. A value that cannot be decoded never removes a peer that
 * was known, and a mass disappearance is held down. No I/O; time is given.
 */

import { CodecError } from "./errors.ts";
import type { Address, PerFamily, Prefix } from "./ip.ts";
import { entriesOf } from "./ip.ts";
import type { Lease, LeaseKey, LeaseSnapshot, RefusedLease } from "./lease.ts";
import { decodeEntry } from "./lease-codec.ts";
import type { NetworkConfig } from "./network-config.ts";
import { parseNetworkConfig } from "./network-config-parser.ts";
import { OverlapIndex } from "./overlap-index.ts";
import type { StoreEntry, StoreMessage } from "./store.ts";

export interface PeerTableOptions {
  /** Peers' subnets must lie in one of these. */
  readonly networks: readonly Prefix[];
  readonly ownAddresses: PerFamily<Address>;
  /** 0 switches the hold-down off. */
  readonly holdDownMs: number;
  /** Why the backend cannot use a lease; null when it can. */
  readonly refusePeer: (lease: Lease) => string | null;
  /** What else must be unique among peers: tunnel MACs, keys. */
  readonly identitiesOf: (lease: Lease) => readonly string[];
}

/** Fewer peers than this may all leave at once. */
const HOLD_DOWN_MIN_PEERS = 4;
const HOLD_DOWN_WINDOW_MS = 1000;

export class PeerTable {
  readonly #options: PeerTableOptions;
  /** The last good lease of every key in the store, and of those that are held. */
  #leases = new Map<LeaseKey, Lease>();
  readonly #held = new Map<LeaseKey, number>();
  #vanished: { readonly lease: Lease; readonly atMs: number }[] = [];
  /** Reasons that concern one lease alone. */
  #broken = new Map<LeaseKey, string>();
  /** Reasons that depend on other leases: looked at again whenever one of them changes. */
  #rivals = new Map<LeaseKey, string>();
  #accepted = new Map<LeaseKey, Lease>();
  #subnets = new OverlapIndex<LeaseKey>();
  #claims = new Map<string, LeaseKey>();
  #ownKey: LeaseKey | null = null;
  #config: NetworkConfig | null = null;
  #configProblem: string | null = null;
  #revision = 0n;
  #synced = false;

  constructor(options: PeerTableOptions) {
    this.#options = options;
  }

  /** Our own lease is no peer. */
  setOwnKey(key: LeaseKey | null): void {
    this.#ownKey = key;
    this.#recompute();
  }

  /** Why the newest configuration in the store is not valid; null when it is. */
  get configProblem(): string | null {
    return this.#configProblem;
  }

  /** Takes a message of the store. `nowMs` is monotonic. */
  apply(message: StoreMessage, nowMs: number): void {
    this.#revision = message.revision;
    if (message.type === "list") this.#replaceAll(message.entries, message.config, nowMs);
    else {
      for (const change of message.changes) {
        if (change.type === "put") this.#put(change.entry);
        else if (change.type === "delete") this.#vanish(change.key, nowMs);
        else this.#readConfig(change.value);
      }
    }
    this.#holdDown(nowMs);
  }

  /** Lets held peers go whose time is over. Answers whether any was. */
  expire(nowMs: number): boolean {
    let any = false;
    for (const [key, deadlineMs] of this.#held) {
      if (deadlineMs > nowMs) continue;
      any = true;
      this.#forget(key);
    }
    return any;
  }

  /** When expire() has something to do; null when nothing is held. */
  get nextDeadlineMs(): number | null {
    return this.#held.size === 0 ? null : Math.min(...this.#held.values());
  }

  snapshot(): LeaseSnapshot {
    const refused = new Map<LeaseKey, RefusedLease>();
    for (const [key, reason] of [...this.#broken, ...this.#rivals]) refused.set(key, { key, reason });
    return {
      synced: this.#synced,
      revision: this.#revision,
      config: this.#config,
      own: this.#ownKey === null ? null : (this.#leases.get(this.#ownKey) ?? null),
      peers: new Map(this.#accepted),
      refused,
      held: new Set(this.#held.keys()),
    };
  }

  #replaceAll(entries: readonly StoreEntry[], config: string | null, nowMs: number): void {
    const present = new Set(entries.map((entry) => entry.key));
    for (const key of [...this.#leases.keys()]) if (!present.has(key)) this.#vanish(key, nowMs);
    for (const key of [...this.#broken.keys()]) if (!present.has(key)) this.#broken.delete(key);
    for (const entry of entries) this.#put(entry);
    this.#readConfig(config);
    this.#synced = true;
  }

  #readConfig(text: string | null): void {
    if (text === null || text === this.#config?.text) return;
    try {
      this.#config = parseNetworkConfig(text);
      this.#configProblem = null;
    } catch (error) {
      this.#configProblem = error instanceof Error ? error.message : String(error);
    }
  }

  #put(entry: StoreEntry): void {
    const known = this.#leases.get(entry.key);
    if (known?.revision === entry.revision && !this.#held.has(entry.key)) return;
    try {
      const lease = decodeEntry(entry);
      this.#broken.delete(entry.key);
      this.#held.delete(entry.key);
      this.#leases.set(entry.key, lease);
      this.#admit(lease, known);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      // The last good lease stays in force: a peer is never torn down because its value was damaged.
      this.#broken.set(entry.key, error.message);
    }
  }

  #vanish(key: LeaseKey, nowMs: number): void {
    this.#broken.delete(key);
    const lease = this.#leases.get(key);
    if (lease === undefined || this.#held.has(key)) return;
    if (this.#accepted.has(key)) this.#vanished.push({ lease, atMs: nowMs });
    this.#forget(key);
  }

  #forget(key: LeaseKey): void {
    this.#held.delete(key);
    this.#broken.delete(key);
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    this.#leases.delete(key);
    this.#withdraw(lease);
    if (this.#rivals.delete(key) || this.#rivals.size > 0) this.#recompute();
  }

  /** More than half of the peers gone within a second is more often a fault of the store than the truth. */
  #holdDown(nowMs: number): void {
    this.#vanished = this.#vanished.filter(({ atMs }) => atMs > nowMs - HOLD_DOWN_WINDOW_MS);
    const before = this.#accepted.size + this.#vanished.length;
    if (this.#options.holdDownMs <= 0 || before < HOLD_DOWN_MIN_PEERS) return;
    if (this.#vanished.length * 2 <= before) return;
    for (const { lease } of this.#vanished) {
      // Somebody else may have its subnet or address by now: then it is not missed.
      if (this.#leases.has(lease.key) || this.#rivalOf(lease) !== null) continue;
      this.#leases.set(lease.key, lease);
      this.#held.set(lease.key, nowMs + this.#options.holdDownMs);
      this.#admit(lease, undefined);
    }
    this.#vanished = [];
  }

  /** Accepts or refuses one lease; everything is decided anew only when leases are in each other's way. */
  #admit(lease: Lease, before: Lease | undefined): void {
    if (before !== undefined) this.#withdraw(before);
    this.#releaseHeldRivals(lease);
    if (this.#rivals.size > 0) {
      this.#recompute();
      return;
    }
    const rival = this.#decide(lease);
    if (rival !== null) this.#recompute();
  }

  /** Answers the reason when another lease is in the way, and books the lease otherwise. */
  #decide(lease: Lease): string | null {
    if (lease.key === this.#ownKey) return null;
    const problem = this.#problemOf(lease);
    if (problem !== null) {
      this.#broken.set(lease.key, `lease ${lease.key}: ${problem}`);
      return null;
    }
    const rival = this.#rivalOf(lease);
    if (rival !== null) return rival;
    this.#accepted.set(lease.key, lease);
    for (const [, subnet] of entriesOf(lease.subnets)) this.#subnets.set(subnet, lease.key);
    for (const claim of this.#claimsOf(lease)) this.#claims.set(claim, lease.key);
    return null;
  }

  /** Of two leases that cannot both be true the one that was created first stays; every host decides alike. */
  #recompute(): void {
    this.#accepted = new Map();
    this.#subnets = new OverlapIndex();
    this.#claims = new Map();
    this.#rivals = new Map();
    const byAge = [...this.#leases.values()].sort((a, b) => Number(a.createRevision - b.createRevision));
    for (const lease of byAge) {
      const rival = this.#decide(lease);
      if (rival !== null) this.#rivals.set(lease.key, `lease ${lease.key}: ${rival}`);
    }
  }

  #withdraw(lease: Lease): void {
    if (!this.#accepted.delete(lease.key)) return;
    for (const [, subnet] of entriesOf(lease.subnets)) this.#subnets.delete(subnet);
    for (const claim of this.#claimsOf(lease)) this.#claims.delete(claim);
  }

  /** A new lease in the place of a held one is the news that the held one was kept for. */
  #releaseHeldRivals(lease: Lease): void {
    for (const key of [...this.#held.keys()]) {
      const held = this.#leases.get(key);
      if (held === undefined || key === lease.key) continue;
      const overlaps = [...entriesOf(held.subnets)].some(([family, subnet]) =>
        lease.subnets[family]?.overlaps(subnet),
      );
      const claims = new Set(this.#claimsOf(held));
      if (overlaps || this.#claimsOf(lease).some((claim) => claims.has(claim))) this.#forget(key);
    }
  }

  #rivalOf(lease: Lease): string | null {
    const overlap = this.#subnets.findAny(lease.subnets);
    if (overlap !== undefined && overlap !== lease.key) {
      return `its subnet overlaps lease ${overlap}, which is older; its host must give it up (delete the key if that host is gone)`;
    }
    for (const claim of this.#claimsOf(lease)) {
      const holder = this.#claims.get(claim);
      if (holder !== undefined && holder !== lease.key) {
        return `${claim} is also that of lease ${holder}, which is older; delete the lease of the host that is gone`;
      }
    }
    return null;
  }

  #problemOf(lease: Lease): string | null {
    for (const [family, subnet] of entriesOf(lease.subnets)) {
      const networks = this.#options.networks.filter((network) => network.family === family);
      if (networks.length > 0 && !networks.some((network) => network.contains(subnet))) {
        return `its subnet ${subnet} lies outside the network ${networks.join(", ")}; delete the key if nobody needs it`;
      }
    }
    for (const [family, address] of entriesOf(lease.attrs.publicAddress)) {
      if (this.#options.ownAddresses[family]?.equals(address)) {
        return `its public address ${address} is this host's own; give one of the two hosts another -public-ip`;
      }
      if (address.isUnspecified || address.isMulticast || address.isLoopback) {
        return `its public address ${address} is no address that packets can be sent to`;
      }
    }
    return this.#options.refusePeer(lease);
  }

  #claimsOf(lease: Lease): string[] {
    const addresses = [...entriesOf(lease.attrs.publicAddress)].map(
      ([, address]) => `its public address ${address}`,
    );
    return [
      ...addresses,
      ...this.#options.identitiesOf(lease).map((identity) => `its hardware address ${identity}`),
    ];
  }
}
