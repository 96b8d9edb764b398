/**
 * The record of all named networks as text and as values. Pure.
 *
 * An entry that cannot be decoded, or that breaks what holds between networks, is kept as it is whenever the record is
 * written again, and still takes its name, its VNI and its ranges as far as they can be read.
 */

import { type Family, mapFamilies, type Prefix } from "../addresses/ip.ts";
import { OverlapIndex } from "../addresses/overlap-index.ts";
import { CodecError, errorMessage } from "../errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../json.ts";
import { integerField, listField, parseObject, prefixOf, textField } from "./fields.ts";
import type { HostId, NamedNetwork, NetworkId } from "./named-network.ts";
import { decodeNetwork, encodeNetwork } from "./network-codec.ts";
import { isHostId, isNetworkId } from "./record-names.ts";

/** One network of the record, as it stands there. */
export interface CatalogueEntry {
  readonly raw: JsonValue;
  /** Null when it is damaged. */
  readonly network: NamedNetwork | null;
  /** Why it is damaged; null when it is not. */
  readonly problem: string | null;
}

/** A range that a host reserved for a network without a name yet. */
export interface StoredDraft {
  readonly id: NetworkId;
  readonly family: Family;
  readonly subnet: Prefix;
  readonly host: HostId;
  /** Seconds since 1970, by the clock of its host. */
  readonly createdSeconds: number;
}

export interface DraftEntry {
  readonly raw: JsonValue;
  /** Null when it is damaged. */
  readonly draft: StoredDraft | null;
}

export interface Catalogue {
  readonly networks: readonly CatalogueEntry[];
  readonly drafts: readonly DraftEntry[];
  /** Fields of a newer version. */
  readonly others: JsonObject;
}

export const EMPTY_CATALOGUE: Catalogue = { networks: [], drafts: [], others: {} };

/** Far more entries than fit into the largest value of any store. */
const MAX_ENTRIES = 100_000;
const MAX_ID = 64;

/** Reads the record. Throws CodecError when it is not a catalogue at all. */
export function decodeCatalogue(text: string): Catalogue {
  const root = parseObject(text);
  const others = Object.entries(root).filter(([name]) => name !== "networks" && name !== "drafts");
  const judge = new Judge();
  return {
    networks: listField(root, "networks", MAX_ENTRIES).map((raw) => judge.entryOf(raw)),
    drafts: listField(root, "drafts", MAX_ENTRIES).map((raw) => ({ raw, draft: draftOrNull(raw) })),
    others: Object.fromEntries(others),
  };
}

export function encodeCatalogue({ networks, drafts, others }: Catalogue): string {
  return JSON.stringify({
    ...others,
    networks: networks.map(({ raw }) => raw),
    drafts: drafts.map(({ raw }) => raw),
  });
}

export function entryOf(network: NamedNetwork): CatalogueEntry {
  return { raw: encodeNetwork(network), network, problem: null };
}

export function draftEntryOf(draft: StoredDraft): DraftEntry {
  const { id, family, subnet, host, createdSeconds } = draft;
  return { raw: { id, family, subnet: subnet.toString(), host, created: createdSeconds }, draft };
}

/** The networks that can be used. */
export function networksOf({ networks }: Catalogue): readonly NamedNetwork[] {
  return networks.flatMap(({ network }) => network ?? []);
}

/** The ids of all entries, damaged ones and drafts too, as far as they can be read. */
export function idsOf({ networks, drafts }: Catalogue): ReadonlySet<string> {
  const ids = [...networks, ...drafts].map(({ raw }) => (isJsonObject(raw) ? raw.id : null));
  return new Set(ids.filter((id) => typeof id === "string"));
}

/** What an entry takes from others, damaged or not. */
export interface Claims {
  /** For messages. */
  readonly title: string;
  readonly name: string | null;
  readonly vni: number | null;
  readonly subnets: readonly Prefix[];
}

export function claimsOf({ raw, network }: CatalogueEntry): Claims {
  if (network !== null) {
    const { name, vni, pools } = network;
    const subnets = Object.values(mapFamilies(pools, ({ subnet }) => subnet));
    return { title: `network ${name}`, name, vni, subnets };
  }
  const entry = isJsonObject(raw) ? raw : {};
  const name = typeof entry.name === "string" ? entry.name : null;
  const vni = typeof entry.vni === "number" ? entry.vni : null;
  const pools = isJsonObject(entry.pools) ? Object.values(entry.pools) : [];
  const subnets = pools.flatMap((pool) => (isJsonObject(pool) ? (prefixOrNull(pool.subnet) ?? []) : []));
  return { title: `the damaged network ${name ?? "without a name"}`, name, vni, subnets };
}

/** Decodes entries one after another; the first of two that cannot both be used wins. */
class Judge {
  readonly #ids = new Set<string>();
  readonly #names = new Set<string>();
  readonly #vnis = new Map<number, string>();
  readonly #ranges = new OverlapIndex<string>();

  entryOf(raw: JsonValue): CatalogueEntry {
    try {
      const network = decodeNetwork(raw);
      const problem = this.#problemOf(network);
      if (problem !== null) return { raw, network: null, problem };
      this.#admit(network);
      return { raw, network, problem: null };
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return { raw, network: null, problem: errorMessage(error) };
    }
  }

  #problemOf({ id, name, vni, pools }: NamedNetwork): string | null {
    if (this.#ids.has(id)) return `another network has the id ${id}`;
    if (this.#names.has(name)) return `another network has the name ${name}`;
    const holder = this.#vnis.get(vni);
    if (holder !== undefined) return `network ${holder} has the VNI ${vni}`;
    const overlapped = this.#ranges.findAny(mapFamilies(pools, ({ subnet }) => subnet));
    return overlapped === undefined ? null : `network ${overlapped} has an overlapping subnet`;
  }

  #admit({ id, name, vni, pools }: NamedNetwork): void {
    this.#ids.add(id);
    this.#names.add(name);
    this.#vnis.set(vni, name);
    for (const { subnet } of Object.values(pools)) this.#ranges.set(subnet, name);
  }
}

function draftOrNull(raw: JsonValue): StoredDraft | null {
  if (!isJsonObject(raw)) return null;
  try {
    const id = textField(raw, "id", MAX_ID);
    const host = textField(raw, "host", MAX_ID);
    const subnet = prefixOf(raw.subnet, "subnet");
    const createdSeconds = integerField(raw, "created", 0, Number.MAX_SAFE_INTEGER);
    return isNetworkId(id) && isHostId(host)
      ? { id, family: subnet.family, subnet, host, createdSeconds }
      : null;
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}

function prefixOrNull(value: JsonValue | undefined): Prefix | null {
  try {
    return prefixOf(value, "subnet");
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}
