/**
 * Folds the store's messages into the peers: which leases are in use, which are rejected and why.
 *
 * A lease is judged twice: by the rules that every host applies alike, our own lease included (admission.ts), and by
 * what only this host can see (the local rules). peer-settings.ts makes both kinds of rules.
 *
 * A listing replaces everything, a change costs a change. A value that cannot be decoded never removes a known peer, and
 * one that vanishes is kept for a while (departures.ts). No I/O; time is given.
 */

import type { NetworkConfig } from "../config/network-config.ts";
import { CodecError, errorMessage } from "../errors.ts";
import { boundText } from "../escape.ts";
import type { Logger } from "../log.ts";
import type { StoreChange, StoreEntry, StoreMessage } from "../stores/contracts.ts";
import { Admission } from "./admission.ts";
import { isOlder } from "./age-queue.ts";
import { Departures, type DepartureTimes, type HeldPeer, type KnownPeer } from "./departures.ts";
import type { Lease, LeaseKey, LeaseSnapshot, RejectedLease } from "./lease.ts";
import { decodeEntry, isFolderKey } from "./lease-codec.ts";
import { NewestConfig } from "./newest-config.ts";
import {
  addressDamage,
  type CommonRules,
  commonProblem,
  demandsOf,
  type LocalRules,
  localProblem,
  ownObstacle,
} from "./peer-rules.ts";
import { commonRules, isLocalOnly, localRules, type PeerSettings } from "./peer-settings.ts";

export interface PeerTableOptions extends PeerSettings, DepartureTimes {
  readonly logger: Logger;
}

/** Longest reason, in UTF-16 units: parts of it come from the store. */
const REASON_LIMIT = 600;

export class PeerTable {
  readonly #logger: Logger;
  readonly #departures: Departures;
  /**
   * By the rules that all hosts share, over all leases, our own included: the last good lease of every key in the store,
   * and of those that are leaving.
   */
  readonly #admission: Admission;
  #settings: PeerSettings;
  #common: CommonRules;
  #local: LocalRules;
  /** Leases of other hosts that all hosts accept and this one can use. */
  readonly #peers = new Map<LeaseKey, Lease>();
  /** Why this host cannot use a lease that all hosts accept. */
  readonly #localProblems = new Map<LeaseKey, string>();
  #changed = new Set<LeaseKey>();
  #version = 0;
  /** Keys of the leases that are not used, without our own. */
  readonly #rejected = new Set<LeaseKey>();
  #changedReasons = new Set<LeaseKey>();
  /** Why the newest value of a key cannot be read. */
  readonly #damaged = new Map<LeaseKey, string>();
  #ownKey: LeaseKey | null = null;
  readonly #config = new NewestConfig();
  #synced = false;
  #isHolding = false;
  #snapshot: LeaseSnapshot | null = null;

  constructor(options: PeerTableOptions) {
    this.#logger = options.logger;
    this.#departures = new Departures(options);
    this.#settings = options;
    this.#common = commonRules(this.#settings, this.#config.valid);
    this.#local = localRules(this.#settings, this.#config.valid, this.#ownKey);
    this.#admission = new Admission({
      problemOf: (lease) => commonProblem(lease, this.#common),
      demandsOf: (lease) => demandsOf(lease, this.#common),
    });
  }

  /** Our own lease is not a peer, and no peer's subnet may overlap ours, whichever host holds our lease. */
  setOwnKey(key: LeaseKey | null): void {
    if (key === this.#ownKey) return;
    this.#ownKey = key;
    this.#judgeAllLocally();
  }

  /** Takes other settings; what they do not name stays. */
  reconfigure(settings: Partial<PeerSettings>): void {
    this.#settings = { ...this.#settings, ...settings };
    if (isLocalOnly(settings)) this.#judgeAllLocally();
    else this.#judgeAll();
  }

  /** The newest valid configuration in the store; null before there is one. */
  get config(): NetworkConfig | null {
    return this.#config.valid;
  }

  /** How many vanished peers are kept for now because they are expected back. */
  get heldCount(): number {
    return this.#departures.held.length;
  }

  /** For restore() after a restart. */
  get heldPeers(): readonly HeldPeer[] {
    return this.#departures.held.flatMap((key) => {
      const lease = this.#peers.get(key);
      return lease === undefined ? [] : { lease, untilMs: this.#departures.stayEndMs(key) };
    });
  }

  /** Takes peers that a former run knew. Call it before the first listing, which says what became of them. */
  restore(known: readonly KnownPeer[], nowMs: number): void {
    for (const { lease, untilMs } of known) {
      if (untilMs !== null && !this.#departures.restore(lease.key, untilMs, nowMs)) continue;
      this.#admission.put(lease);
    }
    this.#followAdmission();
  }

  /** Why the newest configuration in the store is not valid; null when it is. */
  get configProblem(): string | null {
    return this.#config.problem;
  }

  /** Why every other host rejects our own lease, in one sentence; null when they accept it. */
  get ownRejection(): string | null {
    return this.#ownKey && this.#admission.reasonOf(this.#ownKey);
  }

  /** Why our own subnets cut this host off from what it reaches without the network; null when they do not. */
  get ownObstacle(): string | null {
    return this.#ownKey === null ? null : ownObstacle(this.#ownKey, this.#local);
  }

  /** Leases of other hosts that may be used, by key: a live view, changed in place. */
  get peers(): ReadonlyMap<LeaseKey, Lease> {
    return this.#peers;
  }

  /** Grows with every change of `peers`. */
  get version(): number {
    return this.#version;
  }

  /** False until the store has been listed once. */
  get isSynced(): boolean {
    return this.#synced;
  }

  /** Keys of all leases in `peers` that came, went or changed since the last call. */
  takeChanged(): ReadonlySet<LeaseKey> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Takes a message of the store. `nowMs` is monotonic. */
  apply(message: StoreMessage, nowMs: number): void {
    this.#snapshot = null;
    if (message.type === "list") {
      // After a gap the store need not be the one that it was: a cluster may have been restored from a snapshot.
      if (this.#synced) this.#departures.suspectStore(nowMs);
      this.#replaceAll(message.entries, message.config, nowMs);
    } else this.#applyChanges(message.changes, nowMs);
    this.#followAdmission();
    this.#departures.judge(this.#peers.size, nowMs);
    this.#logHolding();
  }

  /**
   * Tells whether the store can be followed. While it cannot, no peer is removed, and a host whose lease vanishes soon
   * after may have been unable to renew it: its lease is kept until the host could be back.
   */
  noteStore(isFollowed: boolean, nowMs: number): void {
    if (isFollowed) this.#departures.storeFound(nowMs);
    else this.#departures.storeLost();
  }

  /** The store did not answer in time at `atMs`: for that reason leases that vanish soon after may not be renewed. */
  suspectStore(atMs: number): void {
    this.#departures.suspectStore(atMs);
  }

  /** Removes peers whose time is over. Returns whether any was. `nowMs` is monotonic. */
  expire(nowMs: number): boolean {
    const { heldCount } = this;
    const over = this.#departures.expire(nowMs);
    for (const key of over) this.#remove(key);
    this.#followAdmission();
    const peers = heldCount - this.heldCount;
    if (peers > 0) this.#logger.warn("peers did not come back and are removed", { peers });
    this.#logHolding();
    return over.length > 0;
  }

  /** When expire() has something to do; Infinity when no peer is leaving, or none may be removed now. */
  get nextDeadlineMs(): number {
    return this.#departures.nextDeadlineMs;
  }

  /** Costs a copy of everything after a change: for the status, not for every change. */
  snapshot(): LeaseSnapshot {
    this.#snapshot ??= {
      peers: new Map(this.peers),
      rejected: this.rejected(),
      held: new Set(this.#departures.held),
    };
    return this.#snapshot;
  }

  /** Leases in the store that are not used, with the reason. */
  rejected(): ReadonlyMap<LeaseKey, RejectedLease> {
    const rejected = new Map<LeaseKey, RejectedLease>();
    for (const key of this.#rejected) {
      const reason = this.#reasonOf(key);
      if (reason !== null) rejected.set(key, { key, reason });
    }
    return rejected;
  }

  /** How many leases in the store are not used: cheaper than to list them. */
  get rejectedCount(): number {
    return this.#rejected.size;
  }

  /** Leases whose rejection began, ended or may read differently since the last call; a null reason: it ended. */
  takeChangedReasons(): ReadonlyMap<LeaseKey, string | null> {
    const changed = this.#changedReasons;
    this.#changedReasons = new Set();
    return new Map([...changed].map((key) => [key, this.#reasonOf(key)]));
  }

  #noteReason(key: LeaseKey): void {
    const isRejected = this.#damaged.has(key) || this.#localProblems.has(key) || this.#isRejectedByAll(key);
    if (!isRejected && !this.#rejected.has(key)) return;
    this.#changedReasons.add(key);
    if (isRejected) this.#rejected.add(key);
    else this.#rejected.delete(key);
  }

  /** Our own lease is not a peer's: ownRejection says what is wrong with it. */
  #isRejectedByAll(key: LeaseKey): boolean {
    return key !== this.#ownKey && this.#admission.isRejected(key);
  }

  #reasonOf(key: LeaseKey): string | null {
    const common = this.#isRejectedByAll(key) ? this.#admission.reasonOf(key) : null;
    const reason = this.#damaged.get(key) ?? this.#localProblems.get(key) ?? common;
    return reason === null ? null : boundText(reason, REASON_LIMIT);
  }

  /** Once for each time that peers are held. */
  #logHolding(): void {
    const { heldCount: peers } = this;
    if (peers > 0 && !this.#isHolding)
      this.#logger.warn("peers vanished and are kept for now: the store may be at fault", { peers });
    this.#isHolding = peers > 0;
  }

  #applyChanges(changes: readonly StoreChange[], nowMs: number): void {
    const isLastPut = new Map(
      changes.flatMap((change): [LeaseKey, boolean][] => {
        if (change.type === "config") return [];
        return change.type === "put" ? [[change.entry.key, true]] : [[change.key, false]];
      }),
    );
    const stays = (key: LeaseKey): boolean => isLastPut.get(key) ?? true;
    for (const change of changes) {
      if (change.type === "put") this.#put(change.entry);
      else if (change.type === "delete") this.#vanish(change.key, stays, nowMs);
      else if (this.#config.read(change.value)) this.#judgeAll();
    }
  }

  #replaceAll(entries: readonly StoreEntry[], config: string | null, nowMs: number): void {
    const present = new Set(entries.map((entry) => entry.key));
    const stays = (key: LeaseKey): boolean => present.has(key);
    for (const key of [...this.#admission.keys(), ...this.#damaged.keys()]) {
      if (!stays(key)) this.#vanish(key, stays, nowMs);
    }
    if (this.#config.read(config)) this.#judgeAll();
    // Where leases share something the later one has it, after a listing as after the changes that led to it.
    const byAge = [...entries].sort((a, b) => Number(a.createRevision - b.createRevision));
    for (const entry of byAge) this.#put(entry);
    this.#synced = true;
  }

  #put(entry: StoreEntry): void {
    const { key } = entry;
    if (isFolderKey(entry)) return;
    this.#departures.cancel(key);
    if (this.#isKnown(entry)) {
      // The value was damaged meanwhile, and a restored store has the one from before.
      this.#endDamage(key);
      return;
    }
    try {
      const lease = decodeEntry(entry);
      this.#requireSense(lease);
      this.#endDamage(key);
      this.#admit(lease);
    } catch (error) {
      // The last good lease stays in force: a damaged value never removes a peer, whatever is wrong with it.
      const isOurs = error instanceof CodecError;
      this.#damaged.set(key, isOurs ? error.message : `lease ${key}: ${errorMessage(error)}; delete the key`);
      this.#noteReason(key);
    }
  }

  /** Throws CodecError for what no host can have published, where the last good lease is better. */
  #requireSense(lease: Lease): void {
    const { key } = lease;
    if (this.#admission.accepted(key) === undefined) return;
    const nowhere = addressDamage(lease, this.#common);
    if (nowhere !== null) throw new CodecError(`lease ${key}: ${nowhere}`);
    const damage = this.#settings.damageOf?.(lease) ?? null;
    if (damage !== null)
      throw new CodecError(`lease ${key}: ${damage}; restart its host's agent or delete the key`);
  }

  /**
   * A store that was restored from a backup gives revisions out again, but never a store lease's id. Reservations have none:
   * they are always read.
   */
  #isKnown({ key, revision, storeLeaseId }: StoreEntry): boolean {
    const known = this.#admission.lease(key);
    return storeLeaseId !== null && known?.revision === revision && known.storeLeaseId === storeLeaseId;
  }

  /**
   * A new lease in the place of one that is on the way out is the news that the other was kept for, unless the new one is
   * rejected in any case.
   */
  #admit(lease: Lease): void {
    const obstacles = this.#departures.isEmpty ? [] : this.#admission.obstaclesTo(lease);
    const isLeaving = ({ key }: Lease): boolean => this.#departures.has(key);
    const isRejected = obstacles.some((other) => !isLeaving(other) && isOlder(other, lease));
    if (!isRejected) for (const { key } of obstacles.filter(isLeaving)) this.#remove(key);
    this.#admission.put(lease);
  }

  /**
   * A lease that its host gave up, or whose subnet another lease waits for, goes at once; others may be put back. A lease
   * that does not stay, because the same message deletes it, waits for nothing.
   */
  #vanish(key: LeaseKey, stays: (waiter: LeaseKey) => boolean, nowMs: number): void {
    this.#endDamage(key);
    const lease = this.#peers.get(key);
    if (lease === undefined || lease.isLeaving || this.#admission.hasWaiters(key, stays)) this.#remove(key);
    else this.#departures.add(key, nowMs);
  }

  #remove(key: LeaseKey): void {
    this.#snapshot = null;
    this.#departures.cancel(key);
    this.#admission.delete(key);
    this.#noteReason(key);
  }

  #endDamage(key: LeaseKey): void {
    if (this.#damaged.delete(key)) this.#noteReason(key);
  }

  #judgeAll(): void {
    this.#snapshot = null;
    this.#common = commonRules(this.#settings, this.#config.valid);
    this.#admission.judgeAll();
    this.#judgeAllLocally();
  }

  #judgeAllLocally(): void {
    this.#snapshot = null;
    this.#local = localRules(this.#settings, this.#config.valid, this.#ownKey);
    // Those that have gone, and all that are there.
    for (const key of new Set([...this.#admission.takeChanged(), ...this.#admission.keys()]))
      this.#judgeLocally(key);
  }

  /** What all hosts accept, less what this one cannot use. */
  #followAdmission(): void {
    for (const key of this.#admission.takeChanged()) this.#judgeLocally(key);
  }

  #judgeLocally(key: LeaseKey): void {
    const accepted = key === this.#ownKey ? undefined : this.#admission.accepted(key);
    const problem = accepted === undefined ? null : localProblem(accepted, this.#common, this.#local);
    if (problem === null) this.#localProblems.delete(key);
    else this.#localProblems.set(key, `lease ${key}: ${problem}`);
    this.#noteReason(key);
    const usable = problem === null ? accepted : undefined;
    if (usable === this.#peers.get(key)) return;
    this.#changed.add(key);
    this.#version += 1;
    // A lease that changed is the last one in the map, as one that is new.
    this.#peers.delete(key);
    if (usable !== undefined) this.#peers.set(key, usable);
  }
}
