/**
 * Folds what the store says into who is a peer: which leases are in use, which are refused and why.
 *
 * A listing replaces everything, a change costs a change. A value that cannot be decoded never removes a peer that
 * was known, and a mass disappearance is held down. No I/O; time is given.
 */

import { type Address, entriesOf, FAMILIES, type PerFamily, type Prefix } from "../addresses/ip.ts";
import type { NetworkConfig } from "../config/network-config.ts";
import { parseNetworkConfig } from "../config/network-config-parser.ts";
import { CodecError, errorMessage } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { StoreEntry, StoreMessage } from "../stores/store.ts";
import { Admission } from "./admission.ts";
import { Departures } from "./departures.ts";
import type { Lease, LeaseKey, LeaseSnapshot, RefusedLease } from "./lease.ts";
import { decodeEntry, parseLeaseKey } from "./lease-codec.ts";
import { OwnRivals } from "./own-rivals.ts";
import { type PeerRules, problemOfPeer, subnetsInUse } from "./peer-rules.ts";

/** What may change while the table is in use. */
export interface PeerSettings {
  /**
   * Peers' subnets must lie in one of these or in the newest valid configuration's: while a network changes over,
   * the one in force here and the one before. Empty: anywhere.
   */
  readonly networks: readonly Prefix[];
  readonly ownAddresses: PerFamily<Address>;
  /** Why the backend cannot use a lease; null when it can. */
  readonly refusePeer: (lease: Lease) => string | null;
  /** What else must be unique among peers: tunnel MACs, keys. */
  readonly identitiesOf: (lease: Lease) => readonly string[];
}

export interface PeerTableOptions extends PeerSettings {
  /** 0 switches the hold-down off. */
  readonly holdDownMs: number;
  readonly logger: Logger;
}

export class PeerTable {
  readonly #logger: Logger;
  readonly #departures: Departures;
  readonly #admission: Admission;
  readonly #ownRivals: OwnRivals;
  #settings: PeerSettings;
  #rules: PeerRules;
  /** The last good lease of every key in the store, and of those that are not let go yet. */
  readonly #leases = new Map<LeaseKey, Lease>();
  /** Why the newest value of a key cannot be read. */
  readonly #damaged = new Map<LeaseKey, string>();
  #ownKey: LeaseKey | null = null;
  #config: NetworkConfig | null = null;
  #configProblem: string | null = null;
  #revision = 0n;
  #synced = false;
  #isHolding = false;
  #snapshot: LeaseSnapshot | null = null;

  constructor(options: PeerTableOptions) {
    this.#logger = options.logger;
    this.#departures = new Departures(options.holdDownMs);
    this.#settings = options;
    this.#rules = this.#makeRules();
    this.#admission = new Admission({
      problemOf: (lease) => problemOfPeer(lease, this.#rules) ?? this.#settings.refusePeer(lease),
      claimsOf: (lease) => this.#claimsOf(lease),
      subnetsOf: (lease) => subnetsInUse(lease, this.#rules),
    });
    this.#ownRivals = new OwnRivals({
      problemOf: (lease) => problemOfPeer(lease, { ...this.#rules, ownSubnets: {}, ownAddresses: {} }),
      refusePeer: (lease) => this.#settings.refusePeer(lease),
      claimsOf: (lease) => this.#claimsOf(lease),
    });
  }

  /** Our own lease is no peer, and no peer's subnet may overlap ours, whoever holds our lease. */
  setOwnKey(key: LeaseKey | null): void {
    const before = this.#ownKey === null ? undefined : this.#leases.get(this.#ownKey);
    this.#ownKey = key;
    if (key !== null) this.#admission.delete(key);
    if (before !== undefined && before.key !== key) this.#admission.put(before);
    this.#judgeAll();
  }

  /** Takes other settings; what they do not name stays. */
  reconfigure(settings: Partial<PeerSettings>): void {
    this.#settings = { ...this.#settings, ...settings };
    this.#judgeAll();
  }

  /** The newest valid configuration in the store; null before there is one. */
  get config(): NetworkConfig | null {
    return this.#config;
  }

  /** How many vanished peers are kept for now: there is reason to think that they will be back. */
  get heldCount(): number {
    return this.#departures.held.length;
  }

  /** Why the newest configuration in the store is not valid; null when it is. */
  get configProblem(): string | null {
    return this.#configProblem;
  }

  /** Why every other host rejects our own lease, in one sentence; null when they accept it. */
  get ownRejection(): string | null {
    return this.#ownRivals.rejection((rival) => {
      const obstacle = this.#admission.obstacleTo(rival);
      return obstacle !== undefined && obstacle.createRevision < rival.createRevision;
    });
  }

  /** Leases of other hosts that may be used, by key: a live view, changed in place. */
  get peers(): ReadonlyMap<LeaseKey, Lease> {
    return this.#admission.accepted;
  }

  /** False until the store has been listed once. */
  get isSynced(): boolean {
    return this.#synced;
  }

  /** Keys of all leases in `peers` that came, went or changed since the last call. */
  takeChanged(): ReadonlySet<LeaseKey> {
    return this.#admission.takeChanged();
  }

  /** Takes a message of the store. `nowMs` is monotonic. */
  apply(message: StoreMessage, nowMs: number): void {
    this.#snapshot = null;
    this.#revision = message.revision;
    if (message.type === "list") {
      // After a gap the store need not be the one that it was: a cluster may have been restored from a snapshot.
      if (this.#synced) this.#departures.doubt(nowMs);
      this.#replaceAll(message.entries, message.config, nowMs);
    } else {
      for (const change of message.changes) {
        if (change.type === "put") this.#put(change.entry);
        else if (change.type === "delete") this.#vanish(change.key, nowMs);
        else this.#readConfig(change.value);
      }
    }
    for (const lease of this.#departures.judge(this.peers.size, nowMs)) this.#putBack(lease);
    this.#sayWhoIsHeld();
  }

  /**
   * Tells whether the store can be followed. While it cannot, nobody is let go, and who vanishes soon after may have
   * been unable to renew its lease: it is held until its host could be back.
   */
  noteStore(isFollowed: boolean, nowMs: number): void {
    if (isFollowed) this.#departures.storeFound(nowMs);
    else this.#departures.storeLost();
  }

  /** The store did not answer in time at `atMs`: who vanishes soon after that may be a victim, too. */
  doubtStore(atMs: number): void {
    this.#departures.doubt(atMs);
  }

  /** Lets peers go whose time is over. Answers whether any was. `nowMs` is monotonic. */
  expire(nowMs: number): boolean {
    const { heldCount } = this;
    const over = this.#departures.expire(nowMs);
    for (const key of over) this.#remove(key);
    const released = heldCount - this.heldCount;
    if (released > 0) this.#logger.warn("peers did not come back and are let go", { peers: released });
    this.#sayWhoIsHeld();
    return over.length > 0;
  }

  /** When expire() has something to do; Infinity when nobody is on the way out, or nobody may go now. */
  get nextDeadlineMs(): number {
    return this.#departures.nextDeadlineMs;
  }

  /** Costs a copy of everything after a change: for status and the like, not for every change. */
  snapshot(): LeaseSnapshot {
    this.#snapshot ??= {
      synced: this.#synced,
      revision: this.#revision,
      config: this.#config,
      own: this.#ownKey === null ? null : (this.#leases.get(this.#ownKey) ?? null),
      peers: new Map(this.peers),
      refused: this.refused(),
      held: new Set(this.#departures.held),
    };
    return this.#snapshot;
  }

  /** Leases in the store that are not used, with the reason. */
  refused(): ReadonlyMap<LeaseKey, RefusedLease> {
    const refused = new Map<LeaseKey, RefusedLease>();
    for (const [key, reason] of [...this.#admission.refused, ...this.#damaged])
      refused.set(key, { key, reason });
    return refused;
  }

  /** Once for each time that peers are held. */
  #sayWhoIsHeld(): void {
    const { heldCount } = this;
    if (heldCount > 0 && !this.#isHolding) {
      this.#logger.warn("peers vanished and are kept for now: the store may be at fault", {
        peers: heldCount,
      });
    }
    this.#isHolding = heldCount > 0;
  }

  #replaceAll(entries: readonly StoreEntry[], config: string | null, nowMs: number): void {
    const present = new Set(entries.map((entry) => entry.key));
    for (const key of [...this.#leases.keys(), ...this.#damaged.keys()]) {
      if (!present.has(key)) this.#vanish(key, nowMs);
    }
    this.#readConfig(config);
    // Where leases share something the later one has it, after a listing as after the changes that led to it.
    const byAge = [...entries].sort((a, b) => Number(a.createRevision - b.createRevision));
    for (const entry of byAge) this.#put(entry);
    this.#synced = true;
  }

  /** Without a configuration, or with one that is not valid, the last valid one counts. */
  #readConfig(text: string | null): void {
    if (text === null || text === this.#config?.text) return;
    try {
      this.#config = parseNetworkConfig(text);
      this.#configProblem = null;
      this.#judgeAll();
    } catch (error) {
      this.#configProblem = errorMessage(error);
    }
  }

  #put(entry: StoreEntry): void {
    const { key } = entry;
    this.#departures.cancel(key);
    if (this.#isKnown(entry)) return;
    try {
      const lease = decodeEntry(entry);
      this.#damaged.delete(key);
      this.#leases.set(key, lease);
      if (key === this.#ownKey) this.#resetRivals();
      else {
        this.#ownRivals.put(lease);
        this.#admit(lease);
      }
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      // The last good lease stays in force: a peer is never torn down because its value was damaged.
      this.#damaged.set(key, error.message);
    }
  }

  /** A store that was restored from a backup gives revisions out again, but never a store lease's id. */
  #isKnown({ key, revision, storeLeaseId }: StoreEntry): boolean {
    const known = this.#leases.get(key);
    return known?.revision === revision && known.storeLeaseId === storeLeaseId;
  }

  /** A new lease in the place of one that is on the way out is the news that the other was kept for. */
  #admit(lease: Lease): void {
    while (!this.#departures.isEmpty) {
      const obstacle = this.#admission.obstacleTo(lease);
      if (obstacle === undefined || !this.#departures.has(obstacle.key)) break;
      this.#departures.cancel(obstacle.key);
      this.#remove(obstacle.key);
    }
    this.#admission.put(lease);
  }

  #vanish(key: LeaseKey, nowMs: number): void {
    this.#damaged.delete(key);
    const lease = this.peers.get(key);
    if (lease === undefined || !this.#departures.add(lease, nowMs, this.peers.size)) this.#remove(key);
  }

  /** Unless another lease has taken its place meanwhile. */
  #putBack(lease: Lease): void {
    if (this.#admission.obstacleTo(lease) !== undefined) {
      this.#departures.cancel(lease.key);
      return;
    }
    this.#leases.set(lease.key, lease);
    this.#ownRivals.put(lease);
    this.#admission.put(lease);
  }

  #remove(key: LeaseKey): void {
    this.#snapshot = null;
    this.#leases.delete(key);
    this.#ownRivals.delete(key);
    this.#admission.delete(key);
    if (key === this.#ownKey) this.#resetRivals();
  }

  #resetRivals(): void {
    const own = this.#ownKey === null ? null : (this.#leases.get(this.#ownKey) ?? null);
    this.#ownRivals.reset(own, this.#leases.values());
  }

  #judgeAll(): void {
    this.#snapshot = null;
    this.#rules = this.#makeRules();
    this.#admission.judgeAll();
    this.#resetRivals();
  }

  #makeRules(): PeerRules {
    const { networks, ownAddresses } = this.#settings;
    const newest = [...entriesOf(this.#config?.families ?? {})].map(([, { network }]) => network);
    const all = [
      ...new Map([...networks, ...newest].map((network) => [network.toString(), network])).values(),
    ];
    const families = FAMILIES.filter(
      (family) => networks.length === 0 || networks.some((network) => network.family === family),
    );
    return {
      networks: Object.fromEntries(
        families.map((family) => [family, all.filter((network) => network.family === family)]),
      ),
      ownSubnets: this.#ownKey === null ? {} : parseLeaseKey(this.#ownKey),
      ownAddresses,
    };
  }

  #claimsOf(lease: Lease): string[] {
    const addresses = entriesOf(lease.attrs.publicAddress).map(([, address]) => address.toString());
    // flanneld leases anew when its address changed, and keeps its device: both leases of such a host may be used,
    // and what they share belongs to the younger one.
    return lease.attrs.nodeId === null ? addresses : this.#settings.identitiesOf(lease).concat(addresses);
  }
}
