/**
 * Changes of the catalogue as functions from one state of it to the next; the compare-and-swap is in catalogue.ts. Pure.
 */

import { entriesOf, type Family, mapFamilies, type PerFamily, type Prefix } from "../addresses/ip.ts";
import { ConfigError, ConflictError } from "../errors.ts";
import { type Catalogue, claimsOf, draftEntryOf, entryOf, networksOf } from "./catalogue-record.ts";
import type { NetworkRequest, PoolDraft, PoolRequest } from "./contracts.ts";
import type { HostId, NamedNetwork, NetworkId } from "./named-network.ts";
import { FIRST_VNI, LAST_VNI, mtuProblem, nameProblem, vniProblem } from "./network-rules.ts";
import { chooseSubnet, poolOf, type UsedRange } from "./pools.ts";

/** What a change depends on beside the catalogue. */
export interface Surroundings {
  /** Ranges of the overlay network and of hosts' links. */
  readonly used: readonly UsedRange[];
  /** VNIs of other devices, with their names. */
  readonly foreignVnis: ReadonlyMap<number, string>;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Seconds since 1970. */
  readonly nowSeconds: number;
}

/** A draft lapses when no network got it within this time, by the clocks of the hosts. */
const DRAFT_SECONDS = 600;

export interface Created {
  readonly network: NamedNetwork;
  readonly created: boolean;
  /** Null when the catalogue stays as it is. */
  readonly next: Catalogue | null;
}

/** Adds the network under `id`; the drafts, which give it their ranges, are used up. Throws ConfigError, ConflictError. */
export function createNetwork(
  catalogue: Catalogue,
  request: NetworkRequest,
  id: NetworkId,
  drafts: readonly PoolDraft[],
  around: Surroundings,
): Created {
  checkRequest(request);
  const rest = withoutDrafts(catalogue, drafts);
  const named = catalogue.networks.find((entry) => claimsOf(entry).name === request.name);
  if (named !== undefined) {
    const { network, problem } = named;
    if (network === null)
      throw new ConflictError(
        `network ${request.name} is damaged in the store: ${problem}; remove it with "tulle network rm"`,
      );
    requireSame(network, request);
    return {
      network,
      created: network.id === id,
      next: rest.drafts.length < catalogue.drafts.length ? rest : null,
    };
  }
  const pools = mapFamilies(request.pools, (pool, family) => {
    const draft = drafts.find((each) => each.family === family)?.id ?? id;
    const made = poolOf(subnetOf(family, pool, drafts, rest, around), pool);
    return draft === id ? made : { ...made, draft };
  });
  if (request.mtuBytes !== null) require(mtuProblem(request.mtuBytes, pools[6] !== undefined));
  const network: NamedNetwork = {
    id,
    name: request.name,
    vni: chooseVni(request.vni, catalogue, around),
    pools,
    isInternal: request.isInternal,
    hasBroadcast: request.hasBroadcast,
    mtuBytes: request.mtuBytes,
    labels: request.labels,
    options: request.options,
    createdSeconds: around.nowSeconds,
  };
  return { network, created: true, next: { ...rest, networks: [...rest.networks, entryOf(network)] } };
}

/**
 * Reserves a range. A requested one may equal another's exactly: two hosts may be about to create one network, which
 * only its name will tell.
 */
export function addDraft(
  catalogue: Catalogue,
  family: Family,
  request: PoolRequest,
  { id, host }: { readonly id: NetworkId; readonly host: HostId },
  around: Surroundings,
): { readonly draft: PoolDraft; readonly next: Catalogue } {
  const current = withoutLapsed(catalogue, around.nowSeconds);
  const { subnet: wanted } = request;
  const others = usedByNetworks(current).filter(({ prefix }) => wanted === null || !prefix.equals(wanted));
  const subnet = chooseSubnet(
    family,
    request,
    [...others, ...usedAround(request, around)],
    around.randomBytes,
  );
  poolOf(subnet, request);
  const draft = { id, family, subnet };
  const entry = draftEntryOf({ ...draft, host, createdSeconds: around.nowSeconds });
  return { draft, next: { ...current, drafts: [...current.drafts, entry] } };
}

/** The catalogue without these drafts. */
export function withoutDrafts(catalogue: Catalogue, drafts: readonly PoolDraft[]): Catalogue {
  const ids = new Set<string>(drafts.map(({ id }) => id));
  const kept = catalogue.drafts.filter(({ draft }) => draft === null || !ids.has(draft.id));
  return { ...catalogue, drafts: kept };
}

/** The catalogue without drafts that lapsed, also those that a clock far ahead wrote. */
function withoutLapsed(catalogue: Catalogue, nowSeconds: number): Catalogue {
  const kept = catalogue.drafts.filter(
    ({ draft }) => draft === null || Math.abs(nowSeconds - draft.createdSeconds) < DRAFT_SECONDS,
  );
  return { ...catalogue, drafts: kept };
}

/** Of its draft, if there is one, else as requested. A draft that lapsed and is in use by now is a conflict. */
function subnetOf(
  family: Family,
  request: PoolRequest,
  drafts: readonly PoolDraft[],
  rest: Catalogue,
  around: Surroundings,
): Prefix {
  const drafted = drafts.find((draft) => draft.family === family)?.subnet ?? null;
  const subnet = request.subnet ?? drafted;
  if (drafted !== null && subnet !== null && !drafted.equals(subnet))
    throw new ConfigError(
      `subnet ${subnet} differs from ${drafted}, which is reserved for this network: leave the subnet out`,
    );
  const current = withoutLapsed(rest, around.nowSeconds);
  const used = usedByNetworks(current).filter(
    ({ prefix, isDraft }) => !(isDraft && subnet !== null && prefix.equals(subnet)),
  );
  const all = [...used, ...usedAround(request, around)];
  return chooseSubnet(family, { ...request, subnet }, all, around.randomBytes);
}

/** What the range may not meet beside other networks. */
function usedAround({ isLan }: PoolRequest, { used }: Surroundings): readonly UsedRange[] {
  return isLan === true ? [] : used;
}

function usedByNetworks({
  networks,
  drafts,
}: Catalogue): readonly (UsedRange & { readonly isDraft: boolean })[] {
  const ofNetworks = networks.flatMap((entry) => {
    const { title, subnets } = claimsOf(entry);
    return subnets.map((prefix) => ({ prefix, title, isDraft: false }));
  });
  const ofDrafts = drafts.flatMap(({ draft }) =>
    draft === null ? [] : [{ prefix: draft.subnet, title: "a network that is being created", isDraft: true }],
  );
  return [...ofNetworks, ...ofDrafts];
}

function chooseVni(wanted: number | null, catalogue: Catalogue, { foreignVnis }: Surroundings): number {
  const holders = new Map<number, string>();
  for (const [vni, device] of foreignVnis) holders.set(vni, `device ${device}`);
  for (const entry of catalogue.networks) {
    const { vni, title } = claimsOf(entry);
    if (vni !== null) holders.set(vni, title);
  }
  if (wanted !== null) {
    const holder = holders.get(wanted);
    if (holder !== undefined)
      throw new ConflictError(`VNI ${wanted} is in use by ${holder}; choose another, or none for a free one`);
    return wanted;
  }
  for (let vni = FIRST_VNI; vni <= LAST_VNI; vni += 1) if (!holders.has(vni)) return vni;
  throw new ConflictError("every VNI is in use; remove networks that are not needed");
}

function checkRequest({ name, vni, pools }: NetworkRequest): void {
  require(nameProblem(name));
  if (vni !== null) require(vniProblem(vni));
  if (entriesOf(pools).length === 0) throw new ConfigError(`network ${name} needs IPv4 or IPv6; give one`);
}

function require(problem: string | null): void {
  if (problem !== null) throw new ConfigError(problem);
}

/** Throws ConflictError when the network lacks something that the request names. */
function requireSame(network: NamedNetwork, request: NetworkRequest): void {
  const difference = differenceOf(network, request);
  if (difference === null) return;
  throw new ConflictError(
    `network ${network.name} exists with ${difference}; choose another name, or the same values`,
  );
}

function differenceOf(network: NamedNetwork, request: NetworkRequest): string | null {
  const { vni, mtuBytes, isInternal, hasBroadcast } = request;
  if (vni !== null && vni !== network.vni) return `VNI ${network.vni}, not ${vni}`;
  if (mtuBytes !== null && mtuBytes !== network.mtuBytes)
    return `MTU ${network.mtuBytes ?? "of the underlay"}, not ${mtuBytes}`;
  if (isInternal !== network.isInternal)
    return network.isInternal ? "no way outside (internal)" : "a way outside (not internal)";
  if (hasBroadcast !== network.hasBroadcast) return `broadcast ${network.hasBroadcast ? "on" : "off"}`;
  return poolDifference(network.pools, request.pools);
}

function poolDifference(pools: NamedNetwork["pools"], requests: PerFamily<PoolRequest>): string | null {
  for (const [family, request] of entriesOf(requests)) {
    const pool = pools[family];
    if (pool === undefined) return `no IPv${family} subnet`;
    const { subnet, allocation, gateway, excluded } = request;
    if (subnet !== null && !subnet.equals(pool.subnet)) return `subnet ${pool.subnet}, not ${subnet}`;
    if (allocation !== null && !allocation.equals(pool.allocation))
      return `range ${pool.allocation}, not ${allocation}`;
    if (gateway !== null && !gateway.equals(pool.gateway)) return `gateway ${pool.gateway}, not ${gateway}`;
    const given = excluded.find((address) => !pool.excluded.some((other) => other.equals(address)));
    if (given !== undefined) return `addresses to give that include ${given}`;
  }
  return null;
}

/** The network of an id; null when there is none. */
export function findNetwork(catalogue: Catalogue, id: NetworkId): NamedNetwork | null {
  return networksOf(catalogue).find((network) => network.id === id) ?? null;
}
