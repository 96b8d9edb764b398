/**
 * Folds records from the store, and what this host has, into the view of named networks.
 *
 * A listing replaces everything, a change costs a change. A record that cannot be decoded removes nothing: the last
 * good one stays. Hosts whose record vanishes stay for a while, with their members (../leases/departures.ts). No I/O;
 * time is given.
 */

import { errorMessage } from "../errors.ts";
import { boundText } from "../escape.ts";
import { isJsonObject } from "../json.ts";
import { Departures, type DepartureTimes } from "../leases/departures.ts";
import type { RecordMessage, StoreEntry } from "../stores/contracts.ts";
import {
  type Catalogue,
  decodeCatalogue,
  EMPTY_CATALOGUE,
  encodeCatalogue,
  entryOf,
} from "./catalogue-record.ts";
import type { NamedNetworksView } from "./contracts.ts";
import { type DecodedMembers, decodeHost, decodeMembers } from "./member-codec.ts";
import type { HostId, HostMembers, HostRecord, Member, NamedNetwork, NetworkId } from "./named-network.ts";
import { NetworkMembers, UNWRITTEN } from "./network-members.ts";
import {
  CATALOGUE_RECORD,
  HOSTS_FOLDER,
  isNetworkId,
  MEMBERS_FOLDER,
  parseHostRecord,
  parseMembersRecord,
} from "./record-names.ts";

/** Parts of a reason come from the store. */
const REASON_LIMIT = 400;

interface Known<T> {
  readonly entry: StoreEntry;
  readonly value: T;
}

interface OwnMembers {
  readonly members: readonly Member[];
  readonly createRevision: bigint;
}

type MembersByNetwork = Map<NetworkId, Map<HostId, Known<DecodedMembers>>>;

export class NamedNetworksTable {
  readonly #self: HostId;
  readonly #departures: Departures;
  /** Hosts that a listing lacked: they may write again what it lacked of them, for as long as #departures would wait. */
  readonly #losses: Departures;
  /** The networks of which the listing lacked their members too. */
  readonly #lost = new Map<HostId, Set<NetworkId>>();
  #catalogue: Known<Catalogue> | null = null;
  #networks: ReadonlyMap<NetworkId, NamedNetwork> = new Map();
  /** In the store, and those that vanished of late. */
  readonly #hosts = new Map<HostId, Known<HostRecord>>();
  readonly #records: MembersByNetwork = new Map();
  readonly #networksOfHost = new Map<HostId, Set<NetworkId>>();
  readonly #own = new Map<NetworkId, OwnMembers>();
  readonly #judged = new Map<NetworkId, NetworkMembers>();
  /** Why the newest value of a record cannot be read, by its name. */
  readonly #damaged = new Map<string, string>();
  #hostsView: ReadonlyMap<HostId, HostRecord> | null = null;
  #membersView: ReadonlyMap<NetworkId, ReadonlyMap<HostId, HostMembers>> | null = null;
  #view: NamedNetworksView | null = null;

  constructor(self: HostId, times: DepartureTimes) {
    this.#self = self;
    this.#departures = new Departures(times);
    this.#losses = new Departures(times);
    this.storeLost();
  }

  /** The same object until something changes. */
  get view(): NamedNetworksView {
    this.#view ??= {
      networks: this.#networks,
      members: this.#members(),
      hosts: this.#hostRecords(),
    };
    return this.#view;
  }

  /** One sentence for each record or member that does not count. */
  get problems(): readonly string[] {
    const damaged = [...this.#damaged].map(([name, reason]) => `record ${boundText(name, 200)}: ${reason}`);
    const judged = [...this.#judged.values()].flatMap(({ network, problems }) =>
      problems.map((problem) => `network ${network.name}: container ${problem}`),
    );
    return [...damaged, ...judged].map((text) => boundText(text, REASON_LIMIT));
  }

  /** What is to be kept on the disk. */
  get entries(): readonly StoreEntry[] {
    const members = [...this.#records.values()].flatMap((hosts) => [...hosts.values()]);
    return [...this.#usedCatalogue(), ...[...this.#hosts.values(), ...members].map(({ entry }) => entry)];
  }

  /** The networks in use: the record's own text may have lost one of them, which would be lost with the next start. */
  #usedCatalogue(): readonly StoreEntry[] {
    if (this.#catalogue === null) return [];
    const networks = [...this.#networks.values()].map(entryOf);
    return [{ ...this.#catalogue.entry, value: encodeCatalogue({ ...EMPTY_CATALOGUE, networks }) }];
  }

  /** When expire() has something to do, in monotonic milliseconds. */
  get nextDeadlineMs(): number {
    return Math.min(this.#departures.nextDeadlineMs, this.#losses.nextDeadlineMs);
  }

  storeLost(): void {
    this.#departures.storeLost();
    this.#losses.storeLost();
  }

  storeFound(nowMs: number): void {
    this.#departures.storeFound(nowMs);
    this.#losses.storeFound(nowMs);
  }

  /** Takes what was kept on the disk. */
  restore(entries: readonly StoreEntry[]): void {
    for (const entry of entries) this.#put(entry);
  }

  apply(message: RecordMessage, nowMs: number): void {
    if (message.type === "list") this.#replaceAll(message.entries, nowMs);
    else {
      for (const change of message.changes) {
        if (change.type === "put") this.#put(change.entry);
        else this.#remove(change.key, nowMs);
      }
    }
    this.#departures.judge(this.#hosts.size, nowMs);
    this.#losses.judge(this.#hosts.size, nowMs);
  }

  /** Removes the hosts whose time is over, and members whose record was lost with their host's. */
  expire(nowMs: number): void {
    for (const key of this.#departures.expire(nowMs)) this.#forgetHost(key as HostId);
    for (const host of this.#losses.expire(nowMs) as HostId[])
      for (const network of this.#lost.get(host) ?? []) this.#removeMembers(network, host);
  }

  /** Replaces this host's members of a network; null for the create revision of a record that is not written. */
  setOwn(network: NetworkId, members: readonly Member[], createRevision: bigint | null): void {
    if (members.length === 0) this.#own.delete(network);
    else this.#own.set(network, { members, createRevision: createRevision ?? UNWRITTEN });
    this.#judge(network, this.#self);
  }

  #replaceAll(entries: readonly StoreEntry[], nowMs: number): void {
    const keys = new Set(entries.map(({ key }) => key));
    for (const host of this.#hosts.keys()) {
      if (keys.has(HOSTS_FOLDER + host)) continue;
      this.#remove(HOSTS_FOLDER + host, nowMs);
      this.#losses.add(host, nowMs);
    }
    for (const [network, hosts] of this.#records) {
      for (const [host, { entry }] of hosts) {
        if (keys.has(entry.key)) continue;
        if (keys.has(HOSTS_FOLDER + host)) this.#removeMembers(network, host);
        // The members of a host that has vanished stay with it, but do not come back with it later.
        else {
          this.#losses.add(host, nowMs);
          this.#lost.set(host, (this.#lost.get(host) ?? new Set()).add(network));
        }
      }
    }
    for (const name of this.#damaged.keys()) if (!keys.has(name)) this.#damaged.delete(name);
    for (const entry of entries) this.#put(entry);
    if (!keys.has(CATALOGUE_RECORD) && this.#networks.size > 0)
      this.#damaged.set(CATALOGUE_RECORD, "it is absent; the last known networks stay");
  }

  #put(entry: StoreEntry): void {
    const { key } = entry;
    if (key === CATALOGUE_RECORD) this.#putCatalogue(entry);
    else if (key.startsWith(HOSTS_FOLDER)) this.#putHost(entry);
    else if (key.startsWith(MEMBERS_FOLDER)) this.#putMembers(entry);
  }

  #remove(key: string, nowMs: number): void {
    this.#damaged.delete(key);
    const host = key.startsWith(HOSTS_FOLDER) ? parseHostRecord(key) : null;
    if (host !== null && this.#hosts.has(host)) this.#departures.add(host, nowMs);
    const members = key.startsWith(MEMBERS_FOLDER) ? parseMembersRecord(key) : null;
    if (members !== null) this.#removeMembers(members.network, members.host);
    if (key === CATALOGUE_RECORD) this.#damaged.set(key, "it was deleted; the last known networks stay");
  }

  #putCatalogue(entry: StoreEntry): void {
    if (this.#catalogue?.entry.value === entry.value) return;
    this.#decode(entry, () => {
      const value = decodeCatalogue(entry.value);
      this.#catalogue = { entry, value };
      this.#setNetworks(this.#usable(value));
    });
  }

  /**
   * The networks of the catalogue; of an entry that is damaged now, the network as it was. An entry without a readable id
   * may be any of those that are not found.
   */
  #usable({ networks }: Catalogue): ReadonlyMap<NetworkId, NamedNetwork> {
    const usable = new Map<NetworkId, NamedNetwork>();
    let isOneUnreadable = false;
    for (const { raw, network } of networks) {
      const id = isJsonObject(raw) ? raw.id : null;
      const known = network ?? this.#networks.get(id as NetworkId);
      if (known !== undefined && !usable.has(known.id)) usable.set(known.id, known);
      if (network === null && !(typeof id === "string" && isNetworkId(id))) isOneUnreadable = true;
    }
    return isOneUnreadable ? new Map([...this.#networks, ...usable]) : usable;
  }

  #setNetworks(networks: ReadonlyMap<NetworkId, NamedNetwork>): void {
    const before = this.#networks;
    const kept = new Map<NetworkId, NamedNetwork>();
    for (const [id, network] of networks) {
      const known = before.get(id);
      kept.set(id, known !== undefined && isSame(known, network) ? known : network);
    }
    this.#networks = kept;
    for (const id of before.keys()) if (!kept.has(id)) this.#judged.delete(id);
    for (const [id, network] of kept) if (before.get(id) !== network) this.#judgeNetwork(network);
    this.#membersView = null;
    this.#view = null;
  }

  #judgeNetwork(network: NamedNetwork): void {
    this.#judged.set(network.id, new NetworkMembers(network));
    for (const host of this.#records.get(network.id)?.keys() ?? []) this.#judge(network.id, host);
    this.#judge(network.id, this.#self);
  }

  #putHost(entry: StoreEntry): void {
    const host = parseHostRecord(entry.key);
    if (host === null) {
      this.#reject(entry.key, "its name is not a host id");
      return;
    }
    this.#departures.cancel(host);
    this.#reviewLoss(host);
    const known = this.#hosts.get(host);
    if (known?.entry.value === entry.value) return;
    this.#decode(entry, () => {
      this.#hosts.set(host, { entry, value: decodeHost(entry.value, host) });
      this.#hostsView = null;
      this.#view = null;
      if (known === undefined) this.#judgeHost(host);
    });
  }

  #putMembers(entry: StoreEntry): void {
    const parsed = parseMembersRecord(entry.key);
    if (parsed === null) {
      this.#reject(entry.key, "its name is not of a network and a host");
      return;
    }
    const { network, host } = parsed;
    if (host === this.#self) return;
    this.#endLoss(network, host);
    const hosts = this.#records.get(network) ?? new Map<HostId, Known<DecodedMembers>>();
    if (isUnchanged(hosts.get(host)?.entry, entry)) return;
    this.#decode(entry, () => {
      const value = decodeMembers(entry.value, hosts.get(host)?.value);
      hosts.set(host, { entry, value });
      this.#records.set(network, hosts);
      this.#networksOfHost.set(host, (this.#networksOfHost.get(host) ?? new Set()).add(network));
      const [problem] = value.problems;
      if (problem !== undefined) this.#damaged.set(entry.key, problem);
      this.#judge(network, host);
    });
  }

  #removeMembers(network: NetworkId, host: HostId): void {
    const hosts = this.#records.get(network);
    this.#endLoss(network, host);
    if (!hosts?.delete(host)) return;
    if (hosts.size === 0) this.#records.delete(network);
    const networks = this.#networksOfHost.get(host);
    networks?.delete(network);
    if (networks?.size === 0) this.#networksOfHost.delete(host);
    this.#judge(network, host);
  }

  #endLoss(network: NetworkId, host: HostId): void {
    const lost = this.#lost.get(host);
    lost?.delete(network);
    if (lost?.size === 0) this.#lost.delete(host);
    this.#reviewLoss(host);
  }

  #reviewLoss(host: HostId): void {
    if (!this.#lost.has(host) && !this.#departures.has(host)) this.#losses.cancel(host);
  }

  #forgetHost(host: HostId): void {
    this.#hosts.delete(host);
    this.#hostsView = null;
    this.#view = null;
    this.#judgeHost(host);
  }

  #judgeHost(host: HostId): void {
    for (const network of this.#networksOfHost.get(host) ?? []) this.#judge(network, host);
  }

  /** Brings the members of one host in one network into the view, or out of it. */
  #judge(network: NetworkId, host: HostId): void {
    const judged = this.#judged.get(network);
    if (judged === undefined) return;
    const entry = host === this.#self ? this.#own.get(network) : this.#foreign(network, host);
    if (entry === undefined) judged.delete(host);
    else judged.set(host, entry.members, entry.createRevision);
    this.#membersView = null;
    this.#view = null;
  }

  /** Undefined while the host is not there. */
  #foreign(network: NetworkId, host: HostId): OwnMembers | undefined {
    const known = this.#hosts.has(host) ? this.#records.get(network)?.get(host) : undefined;
    return known && { members: known.value.members, createRevision: known.entry.createRevision };
  }

  #decode(entry: StoreEntry, take: () => void): void {
    this.#damaged.delete(entry.key);
    try {
      take();
    } catch (error) {
      this.#reject(entry.key, errorMessage(error));
    }
  }

  #reject(key: string, reason: string): void {
    this.#damaged.set(key, reason);
  }

  #hostRecords(): ReadonlyMap<HostId, HostRecord> {
    this.#hostsView ??= new Map([...this.#hosts].map(([host, { value }]) => [host, value]));
    return this.#hostsView;
  }

  /** Networks without members are not in it. */
  #members(): ReadonlyMap<NetworkId, ReadonlyMap<HostId, HostMembers>> {
    if (this.#membersView !== null) return this.#membersView;
    const members = new Map<NetworkId, ReadonlyMap<HostId, HostMembers>>();
    for (const [id, { view }] of this.#judged) if (view.size > 0) members.set(id, view);
    this.#membersView = members;
    return members;
  }
}

/** Networks never change but for a person's hand: their text is compared. */
function isSame(a: NamedNetwork, b: NamedNetwork): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** By content: a store that was restored from a backup may use a revision twice. */
function isUnchanged(known: StoreEntry | undefined, entry: StoreEntry): boolean {
  return known?.value === entry.value && known.createRevision === entry.createRevision;
}
