/**
 * All named networks of a store prefix, in one record: names and VNIs are unique and ranges disjoint by one
 * compare-and-swap, however many hosts create networks at once.
 */

import type { Prefix } from "../addresses/ip.ts";
import { Backoff, type Clock } from "../clock.ts";
import { CodecError, ConflictError, errorMessage } from "../errors.ts";
import { isOutcomeUnknown } from "../stores/answers.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import {
  addDraft,
  createNetwork,
  findNetwork,
  type Surroundings,
  withoutDrafts,
} from "./catalogue-change.ts";
import {
  type Catalogue,
  type CatalogueEntry,
  decodeCatalogue,
  EMPTY_CATALOGUE,
  encodeCatalogue,
  networksOf,
} from "./catalogue-record.ts";
import type { NetworkCatalogue, NetworkRequest, PoolDraft, PoolRequest } from "./contracts.ts";
import { decodeHost, decodeMembers } from "./member-codec.ts";
import type { HostId, HostRecord, NamedNetwork, NetworkId } from "./named-network.ts";
import { isLinkRange } from "./network-rules.ts";
import type { UsedRange } from "./pools.ts";
import {
  addressFolder,
  CATALOGUE_RECORD,
  HOSTS_FOLDER,
  membersFolder,
  parseHostRecord,
  parseMembersRecord,
} from "./record-names.ts";
import { removeRecords } from "./record-removal.ts";

/**
 * Bytes of the record. Consul takes 512 KiB for a whole transaction, which holds the value in base64; about a thousand
 * networks fit.
 */
const MAX_BYTES = 360_000;

/** Each attempt that lost to another host's write is one network of another host: this is enough for hundreds. */
const MAX_TRIES = 200;
/** Of putting a network back that turned out to be in use. */
const PUT_BACK_MS = 5_000;
const RETRY_MS = { baseMs: 4, maxMs: 60 };

export interface CatalogueOptions {
  readonly records: Records;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Cryptographically random. */
  readonly randomBytes: (count: number) => Uint8Array;
  readonly dateMs: () => number;
  /** Ranges that no network may have: those of the overlay network and of this host's own links. */
  readonly reserved: (signal: AbortSignal) => Promise<readonly UsedRange[]>;
  /** VNIs of devices that are not of named networks, with the devices' names. */
  readonly foreignVnis: () => ReadonlyMap<number, string>;
}

/** A container that keeps a network from being removed. */
interface Occupant {
  readonly host: HostId;
  /** Its container's name; "its containers" where the record cannot be read. */
  readonly container: string;
  readonly isHostGone: boolean;
  readonly hostName: string;
}

/** The NetworkCatalogue of a store. */
export class StoreCatalogue implements NetworkCatalogue {
  readonly #options: CatalogueOptions;

  constructor(options: CatalogueOptions) {
    this.#options = options;
  }

  async create(
    request: NetworkRequest,
    signal: AbortSignal,
  ): Promise<{ readonly network: NamedNetwork; readonly created: boolean }> {
    return await this.#create(request, this.#newId(), [], signal);
  }

  async draft(
    family: PoolDraft["family"],
    request: PoolRequest,
    host: HostId,
    signal: AbortSignal,
  ): Promise<PoolDraft> {
    const around = await this.#surroundings(signal);
    const id = this.#newId();
    return await this.#change(signal, (catalogue) => {
      const known = catalogue.drafts.find(({ draft }) => draft?.id === id)?.draft;
      if (known) return { next: null, result: { id, family, subnet: known.subnet } };
      const { draft, next } = addDraft(catalogue, family, request, { id, host }, around);
      return { next, result: draft };
    });
  }

  async publish(
    drafts: readonly PoolDraft[],
    request: NetworkRequest,
    signal: AbortSignal,
  ): Promise<{ readonly network: NamedNetwork; readonly created: boolean }> {
    return await this.#create(request, drafts[0]?.id ?? this.#newId(), drafts, signal);
  }

  async abandon(draft: PoolDraft, signal: AbortSignal): Promise<void> {
    await this.#change(signal, (catalogue) => {
      const next = withoutDrafts(catalogue, [draft]);
      return { next: next.drafts.length === catalogue.drafts.length ? null : next, result: undefined };
    });
  }

  async list(signal: AbortSignal): Promise<readonly NamedNetwork[]> {
    return networksOf((await this.#read(signal)).catalogue);
  }

  /** All entries, damaged ones too, for a person. */
  async inspect(signal: AbortSignal): Promise<readonly CatalogueEntry[]> {
    return (await this.#read(signal)).catalogue.networks;
  }

  /**
   * The members are read before, for a refusal that disturbs no host, and after: a container may have started between.
   * Then the network is put back before another host could use its name.
   */
  async remove(id: NetworkId, signal: AbortSignal): Promise<void> {
    const network = findNetwork((await this.#read(signal)).catalogue, id);
    await this.#requireUnused(id, network?.name ?? id, signal);
    const removed = await this.#change(signal, (catalogue) => {
      const entry = catalogue.networks.find((each) => each.network?.id === id);
      const networks = catalogue.networks.filter((each) => each !== entry);
      return { next: entry === undefined ? null : { ...catalogue, networks }, result: entry ?? null };
    });
    try {
      await this.#requireUnused(id, network?.name ?? id, signal);
    } catch (error) {
      // What is not known to be unused stays. The caller's signal may have fired.
      if (removed !== null) await this.#putBack(removed, AbortSignal.timeout(PUT_BACK_MS));
      throw error;
    }
    const { records } = this.#options;
    await removeRecords(records, await records.list(addressFolder(id), signal), signal);
    await removeRecords(records, await records.list(membersFolder(id), signal), signal);
  }

  /** Removes a damaged entry by the name that it shows; false when there is none. */
  async removeDamaged(name: string, signal: AbortSignal): Promise<boolean> {
    return await this.#change(signal, (catalogue) => {
      const networks = catalogue.networks.filter(
        ({ raw, network }) => network !== null || !hasName(raw, name),
      );
      const isFound = networks.length < catalogue.networks.length;
      return { next: isFound ? { ...catalogue, networks } : null, result: isFound };
    });
  }

  async #create(
    request: NetworkRequest,
    id: NetworkId,
    drafts: readonly PoolDraft[],
    signal: AbortSignal,
  ): Promise<{ readonly network: NamedNetwork; readonly created: boolean }> {
    const around = await this.#surroundings(signal);
    return await this.#change(signal, (catalogue) => {
      const { network, created, next } = createNetwork(catalogue, request, id, drafts, around);
      return { next, result: { network, created } };
    });
  }

  async #putBack(entry: CatalogueEntry, signal: AbortSignal): Promise<void> {
    await this.#change(signal, (catalogue) => {
      const isThere = catalogue.networks.some(({ network }) => network?.id === entry.network?.id);
      const networks = [...catalogue.networks, entry];
      return { next: isThere ? null : { ...catalogue, networks }, result: undefined };
    });
  }

  async #requireUnused(id: NetworkId, name: string, signal: AbortSignal): Promise<void> {
    const occupant = await this.#occupant(id, signal);
    if (occupant === null) return;
    const { container, hostName, host, isHostGone } = occupant;
    const remedy = isHostGone
      ? `that host is away; if it is gone for good, run "tulle network ipam release --host ${host}"`
      : "stop or disconnect it there";
    const usedBy = `container ${container} on host ${hostName}`;
    throw new ConflictError(`network ${name} is in use by ${usedBy}; ${remedy}`, { details: { usedBy } });
  }

  /** One container in the network, of a host that is there if possible. */
  async #occupant(id: NetworkId, signal: AbortSignal): Promise<Occupant | null> {
    const { records } = this.#options;
    const entries = await records.list(membersFolder(id), signal);
    if (entries.length === 0) return null;
    const hosts = await this.#hosts(signal);
    const occupants = entries.flatMap((entry) => occupantOf(entry, hosts) ?? []);
    return occupants.find(({ isHostGone }) => !isHostGone) ?? occupants[0] ?? null;
  }

  /** Reads, changes and writes until no other write came between. `next` null leaves the record as it is. */
  async #change<T>(
    signal: AbortSignal,
    change: (catalogue: Catalogue) => { readonly next: Catalogue | null; readonly result: T },
  ): Promise<T> {
    const { records, clock, random } = this.#options;
    const backoff = new Backoff({ ...RETRY_MS, random });
    for (let attempt = 0; attempt < MAX_TRIES; attempt += 1) {
      const { entry, catalogue } = await this.#read(signal);
      const { next, result } = change(catalogue);
      if (next === null) return result;
      const text = encodeCatalogue(next);
      requireRoom(text, entry);
      try {
        await records.write(CATALOGUE_RECORD, text, entry, signal);
        return result;
      } catch (error) {
        if (!(error instanceof ConflictError) && !isOutcomeUnknown(error)) throw error;
      }
      await clock.sleep(backoff.nextMs(), signal);
    }
    throw new ConflictError(
      `${CATALOGUE_RECORD} changed at each of ${MAX_TRIES} attempts to write it; try again later`,
    );
  }

  async #read(
    signal: AbortSignal,
  ): Promise<{ readonly entry: StoreEntry | null; readonly catalogue: Catalogue }> {
    const entry = await this.#options.records.read(CATALOGUE_RECORD, signal);
    if (entry === null) return { entry, catalogue: EMPTY_CATALOGUE };
    try {
      return { entry, catalogue: decodeCatalogue(entry.value) };
    } catch (error) {
      throw new ConflictError(
        `the record ${CATALOGUE_RECORD} is damaged: ${errorMessage(error)}; restore it from a backup of the store`,
        { cause: error },
      );
    }
  }

  async #surroundings(signal: AbortSignal): Promise<Surroundings> {
    const { reserved, foreignVnis, randomBytes, dateMs } = this.#options;
    const [hosts, used] = await Promise.all([this.#hosts(signal), reserved(signal)]);
    return {
      used: [...used, ...[...hosts.values()].flatMap(usedBy)],
      foreignVnis: foreignVnis(),
      randomBytes,
      nowSeconds: Math.floor(dateMs() / 1000),
    };
  }

  /** The hosts whose records can be read. */
  async #hosts(signal: AbortSignal): Promise<ReadonlyMap<HostId, HostRecord>> {
    const hosts = new Map<HostId, HostRecord>();
    for (const { key, value } of await this.#options.records.list(HOSTS_FOLDER, signal)) {
      const host = parseHostRecord(key);
      const record = host === null ? null : hostOrNull(value, host);
      if (host !== null && record !== null) hosts.set(host, record);
    }
    return hosts;
  }

  #newId(): NetworkId {
    return Buffer.from(this.#options.randomBytes(16)).toString("hex") as NetworkId;
  }
}

function usedBy({ name, localPrefixes }: HostRecord): readonly UsedRange[] {
  return localPrefixes
    .filter(isLinkRange)
    .map((prefix: Prefix) => ({ prefix, title: `on a link of host ${name}` }));
}

function hostOrNull(text: string, host: HostId): HostRecord | null {
  try {
    return decodeHost(text, host);
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}

/** Null for a record without members. One that cannot be read counts: its host may have containers. */
function occupantOf({ key, value }: StoreEntry, hosts: ReadonlyMap<HostId, HostRecord>): Occupant | null {
  const parsed = parseMembersRecord(key);
  if (parsed === null) return null;
  const record = hosts.get(parsed.host);
  const known = {
    host: parsed.host,
    isHostGone: record === undefined,
    hostName: record?.name ?? parsed.host,
  };
  try {
    const { members, problems } = decodeMembers(value);
    const [first] = members;
    if (first === undefined && problems.length === 0) return null;
    const container = first?.names[0] ?? first?.container ?? first?.endpoint ?? "(unreadable)";
    return { ...known, container };
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    return { ...known, container: "(unreadable)" };
  }
}

function hasName(raw: CatalogueEntry["raw"], name: string): boolean {
  return typeof raw === "object" && raw !== null && "name" in raw && raw.name === name;
}

/** A record that shrinks may always be written. */
function requireRoom(text: string, entry: StoreEntry | null): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= MAX_BYTES || (entry !== null && text.length < entry.value.length)) return;
  throw new ConflictError(
    `the record ${CATALOGUE_RECORD} would have ${bytes} bytes, over ${MAX_BYTES}: remove networks that are not needed, or shorten labels and options`,
  );
}
