/**
 * Follows named networks in the store and publishes what this host has. The view outlives an outage and a restart.
 *
 * The data flow: a watch of the catalogue, the hosts and the members, in one order of events, into networks-table.ts;
 * this host's record and members through host-publisher.ts and members-publisher.ts into the store.
 */

import { isDeepStrictEqual } from "node:util";
import { type Clock, isLate, Sleep } from "../clock.ts";
import { errorMessage } from "../errors.ts";
import { errorFields, FailureSeries, type Logger } from "../log.ts";
import type { EntryChange, RecordMessage, Records, StoreEntry, StoreHealth } from "../stores/contracts.ts";
import type { NamedNetworksFeed, NamedNetworksView } from "./contracts.ts";
import { HostPublisher } from "./host-publisher.ts";
import { decodeMembers } from "./member-codec.ts";
import { MembersPublisher } from "./members-publisher.ts";
import type { HostRecord, Member, NetworkId } from "./named-network.ts";
import { NamedNetworksTable } from "./networks-table.ts";
import {
  CATALOGUE_RECORD,
  HOSTS_FOLDER,
  hostRecord,
  MEMBERS_FOLDER,
  parseMembersRecord,
} from "./record-names.ts";
import { ViewFile } from "./view-file.ts";

/** A host's record expires 30 s after its last extension; it may be put back at once. */
const TIMES = { leaveGraceMs: 2_000, holdDownMs: 60_000 };
/**
 * The file is written this long after a change, and at once when the store is lost: it may hold megabytes. Writing takes
 * no more than a hundredth of the time.
 */
const SAVE_DELAY_MS = 10_000;
const SAVE_PAUSE = 100;

export interface FeedOptions {
  readonly records: Records;
  /** What this host's record says at the start. */
  readonly host: HostRecord;
  /** The folder of the file with the view; made where it is missing. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

/** The NamedNetworksFeed of a store. */
export class StoreFeed implements NamedNetworksFeed {
  readonly #options: FeedOptions;
  readonly #table: NamedNetworksTable;
  readonly #file: ViewFile;
  readonly #hostPublisher: HostPublisher;
  readonly #membersPublisher: MembersPublisher;
  readonly #own = new Map<NetworkId, Map<string, Member>>();
  /** Networks with other members of this host than the table has: a thousand changes between two readings cost one. */
  readonly #changed = new Set<NetworkId>();
  /** This host's records as they are in the store. */
  readonly #stored = new Map<NetworkId, StoreEntry>();
  readonly #listeners = new Set<(view: NamedNetworksView) => void>();
  readonly #saving: Sleep;
  readonly #expiry: Sleep;
  #shown: NamedNetworksView;
  #isNotifying = false;
  #isUnsaved = false;
  /** Members are taken over from the store where the disk did not tell them. */
  #mustAdopt = false;
  #storeProblem: string | null = "the store has not answered yet";

  /** Reads the file with the view. Throws what the file system throws when the folder cannot be made. */
  constructor(options: FeedOptions) {
    this.#options = options;
    const { host, stateDir, logger, clock } = options;
    this.#table = new NamedNetworksTable(host.host, TIMES);
    this.#file = new ViewFile(stateDir, logger);
    this.#hostPublisher = new HostPublisher(host, options);
    this.#membersPublisher = new MembersPublisher({
      ...options,
      host: host.host,
      membersOf: (network) => this.#membersOf(network),
      onStored: (network, entry) => this.#noteStored(network, entry),
    });
    this.#saving = new Sleep(clock);
    this.#expiry = new Sleep(clock);
    this.#restore();
    this.#shown = this.view;
  }

  get view(): NamedNetworksView {
    for (const network of this.#changed) this.#showOwn(network);
    return this.#table.view;
  }

  get storeProblem(): string | null {
    return this.#storeProblem;
  }

  /** One sentence for each record that does not count, and for each network of this host's that is gone. */
  get problems(): readonly string[] {
    const { networks } = this.view;
    const orphans = [...this.#own].filter(([network, members]) => members.size > 0 && !networks.has(network));
    return [
      ...this.#table.problems,
      ...orphans.map(
        ([network, members]) =>
          `network ${network} was removed while containers of this host are in it: ${members.size}`,
      ),
      ...[...this.#membersPublisher.leftOut].map(
        ([network, count]) =>
          `network ${networks.get(network)?.name ?? network}: ${count} containers of this host are unknown to other hosts, because a record holds no more; start containers on another host`,
      ),
    ];
  }

  get unpublished(): readonly NetworkId[] {
    return this.#membersPublisher.pending;
  }

  /** This host's members of a network, whether they count or not. */
  ownMembers(network: NetworkId): readonly Member[] {
    return this.#membersOf(network);
  }

  /** Publishes another record of this host: its addresses or prefixes changed. */
  setHost(record: HostRecord): void {
    this.#hostPublisher.set(record);
  }

  setMember(network: NetworkId, member: Member): void {
    const members = this.#own.get(network) ?? new Map<string, Member>();
    // A comparison with all members of the network follows a change.
    if (isDeepStrictEqual(members.get(member.endpoint), member)) return;
    members.set(member.endpoint, member);
    this.#own.set(network, members);
    this.#changedOwn(network);
  }

  removeMember(network: NetworkId, endpoint: string): void {
    const members = this.#own.get(network);
    if (!members?.delete(endpoint)) return;
    if (members.size === 0) this.#own.delete(network);
    this.#changedOwn(network);
  }

  onChange(listener: (view: NamedNetworksView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Follows and publishes until the signal fires; the view is on the disk then. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#follow(signal),
      this.#hostPublisher.run(signal),
      this.#membersPublisher.run(signal),
      this.#expire(signal),
      this.#save(signal),
    ]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const ranges = [CATALOGUE_RECORD, HOSTS_FOLDER, MEMBERS_FOLDER];
    const onHealth = (health: StoreHealth): void => this.#noteHealth(health);
    for await (const message of this.#options.records.watch(ranges, signal, onHealth)) this.#take(message);
  }

  #take(message: RecordMessage): void {
    if (this.#storeProblem !== null) this.#noteHealth({ isFollowed: true });
    this.#table.apply(message, this.#options.clock.monotonicMs());
    if (message.type === "list") this.#observeAll(message.entries);
    else for (const change of message.changes) this.#observe(change);
    this.#isUnsaved = true;
    this.#expiry.wake();
    this.#notify();
  }

  #noteHealth(health: StoreHealth): void {
    this.#storeProblem = health.isFollowed ? null : health.reason;
    if (health.isFollowed) this.#table.storeFound(this.#options.clock.monotonicMs());
    else {
      this.#table.storeLost();
      this.#saving.wake();
    }
    this.#expiry.wake();
  }

  /** What the listing says of this host's own records; those that it does not have are absent. */
  #observeAll(entries: readonly StoreEntry[]): void {
    const { host } = this.#hostPublisher.record;
    const own = new Map<NetworkId, StoreEntry>();
    for (const entry of entries) {
      const parsed = entry.key.startsWith(MEMBERS_FOLDER) ? parseMembersRecord(entry.key) : null;
      if (parsed?.host === host) own.set(parsed.network, entry);
    }
    if (this.#mustAdopt) this.#adopt(own);
    this.#hostPublisher.observe(entries.find(({ key }) => key === hostRecord(host)) ?? null);
    for (const network of new Set([...own.keys(), ...this.#own.keys()]))
      this.#membersPublisher.observe(network, own.get(network) ?? null, null);
  }

  #observe(change: EntryChange): void {
    const { host } = this.#hostPublisher.record;
    const entry = change.type === "put" ? change.entry : null;
    const { key, revision } = change.type === "put" ? change.entry : change;
    if (key === hostRecord(host)) this.#hostPublisher.observe(entry);
    const parsed = key.startsWith(MEMBERS_FOLDER) ? parseMembersRecord(key) : null;
    if (parsed?.host === host) this.#membersPublisher.observe(parsed.network, entry, revision);
  }

  /** The state directory is lost: the store tells which members this host had. The engine's driver removes the dead. */
  #adopt(records: ReadonlyMap<NetworkId, StoreEntry>): void {
    this.#mustAdopt = false;
    for (const [network, { key, value }] of records) {
      try {
        const members = new Map(decodeMembers(value).members.map((member) => [member.endpoint, member]));
        const known = this.#own.get(network) ?? new Map<string, Member>();
        this.#own.set(network, new Map([...members, ...known]));
        this.#changedOwn(network);
      } catch (error) {
        this.#options.logger.warn("own members in the store are damaged and are replaced", {
          record: key,
          ...errorFields(error),
        });
      }
    }
  }

  #restore(): void {
    const kept = this.#file.read();
    this.#mustAdopt = kept === null;
    if (kept === null) return;
    this.#table.restore(kept.entries);
    for (const [network, members] of kept.own) {
      this.#own.set(network, new Map(members.map((member) => [member.endpoint, member])));
      this.#changedOwn(network);
    }
  }

  #membersOf(network: NetworkId): readonly Member[] {
    return [...(this.#own.get(network)?.values() ?? [])];
  }

  #changedOwn(network: NetworkId): void {
    this.#changed.add(network);
    this.#membersPublisher.publish(network);
    this.#isUnsaved = true;
    this.#notify();
  }

  #noteStored(network: NetworkId, entry: StoreEntry | null): void {
    const before = this.#stored.get(network)?.createRevision;
    if (entry === null) this.#stored.delete(network);
    else this.#stored.set(network, entry);
    if (entry?.createRevision === before) return;
    this.#showOwn(network);
    this.#notify();
  }

  #showOwn(network: NetworkId): void {
    this.#changed.delete(network);
    const createRevision = this.#stored.get(network)?.createRevision ?? null;
    this.#table.setOwn(network, this.#membersOf(network), createRevision);
  }

  /** Once for all that a turn of the event loop brings, such as the requests of a thousand containers. */
  #notify(): void {
    if (this.#isNotifying) return;
    this.#isNotifying = true;
    setImmediate(() => {
      this.#isNotifying = false;
      const { view } = this;
      if (view === this.#shown) return;
      this.#shown = view;
      for (const listener of [...this.#listeners]) this.#call(listener, view);
    });
  }

  #call(listener: (view: NamedNetworksView) => void, view: NamedNetworksView): void {
    try {
      listener(view);
    } catch (error) {
      this.#options.logger.error("a change of named networks was not handled", {
        error: errorMessage(error),
      });
    }
  }

  async #expire(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const dueMs = this.#table.nextDeadlineMs;
      const nowMs = clock.monotonicMs();
      if (dueMs > nowMs) await this.#expiry.for(dueMs - nowMs, signal);
      // This process was stopped: what was put back meanwhile is read before a host is removed.
      else if (isLate(dueMs, nowMs)) this.#table.storeFound(nowMs);
      else {
        this.#table.expire(nowMs);
        this.#isUnsaved = true;
        this.#notify();
      }
    }
  }

  async #save(signal: AbortSignal): Promise<void> {
    const { logger, clock } = this.#options;
    const failures = new FailureSeries(
      logger,
      "named networks could not be saved",
      "named networks are saved",
    );
    let isLast = false;
    let tookMs = 0;
    while (!isLast) {
      await this.#saving.for(Math.max(SAVE_DELAY_MS, tookMs * SAVE_PAUSE), signal);
      isLast = signal.aborted;
      if (!this.#isUnsaved) continue;
      this.#isUnsaved = false;
      const own = new Map([...this.#own.keys()].map((network) => [network, this.#membersOf(network)]));
      const startMs = clock.monotonicMs();
      try {
        await this.#file.write({ entries: this.#table.entries, own });
        failures.succeeded();
      } catch (error) {
        this.#isUnsaved = true;
        failures.failed(error);
      }
      tookMs = clock.monotonicMs() - startMs;
    }
  }
}
