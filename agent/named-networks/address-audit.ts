/** The addresses that hosts hold in a named network, and what is wrong with them, as an administrator sees them. */

import { type Address, entriesOf } from "../../ipam/addresses/ip.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { type HeldAddress, heldOf } from "../../ipam/named-networks/address-records.ts";
import { goneAmong } from "../../ipam/named-networks/gone-hosts.ts";
import type { HostId, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { containerAddressProblem } from "../../ipam/named-networks/network-rules.ts";
import {
  ADDRESSES_FOLDER,
  isNetworkId,
  MEMBERS_FOLDER,
  parseMembersRecord,
} from "../../ipam/named-networks/record-names.ts";
import { removeRecords } from "../../ipam/named-networks/record-removal.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { Overview, PlacedMember } from "./overview.ts";
import { selectNetwork } from "./select-network.ts";

/** Of a network that does not exist, the name is the id. */
type HeldNetwork = Pick<NamedNetwork, "id" | "name">;

export interface AuditedAddress {
  /** Null when the network does not exist. */
  readonly network: NamedNetwork | null;
  readonly held: HeldAddress;
  /** The container that has it; null in reserve. */
  readonly user: PlacedMember | null;
  /** One sentence; null when all is in order. */
  readonly problem: string | null;
}

export interface AddressAudit {
  readonly addresses: readonly AuditedAddress[];
  /** Containers whose address their host does not hold. */
  readonly problems: readonly string[];
}

/** Every address of every network. Throws StoreError. */
export async function auditAddresses(
  store: NetworkStore,
  overview: Overview,
  signal: AbortSignal,
): Promise<AddressAudit> {
  const entries = await store.records.list(ADDRESSES_FOLDER, signal);
  const all = entries.flatMap((entry) => heldOf(entry) ?? []);
  const networks = new Map<string, NamedNetwork>(overview.networks.map((network) => [network.id, network]));
  const users = usersOf(overview.members);
  const gone = await goneAmong(store, new Set(all.flatMap(({ holder }) => holder?.host ?? [])), signal);
  const addresses = all.map((held): AuditedAddress => {
    const network = networks.get(held.network) ?? null;
    const user = users.get(keyOf(held.network, held.address)) ?? null;
    const problem = network === null ? absentProblem(held, overview) : problemOf(held, network, user, gone);
    return { network, held, user, problem };
  });
  const known = new Set(all.map(({ network, address }) => keyOf(network, address)));
  const unrecorded = [...users].filter(([key]) => !known.has(key));
  return {
    addresses: addresses.sort(byNetworkAndAddress),
    problems: unrecorded.map(
      ([key, { network, member, hostName }]) =>
        `network ${network.name}: container ${titleOf(member)} on host ${hostName} has ${key.split(" ")[1]}, which no host holds`,
    ),
  };
}

/** A network by its name or id, also one that does not exist, by its whole id. Throws ConfigError. */
export function selectHeldNetwork(overview: Overview, text: string): HeldNetwork {
  if (isNetworkId(text) && isAbsent(overview, text)) return { id: text, name: text };
  return selectNetwork(overview.networks, text);
}

/**
 * Deletes the record of one address, if its network does not exist, or its host is not here to give it. Throws ConfigError
 * and ConflictError.
 */
export async function releaseAddress(
  store: NetworkStore,
  overview: Overview,
  network: HeldNetwork,
  address: Address,
  signal: AbortSignal,
): Promise<void> {
  const entries = await store.records.list(`${ADDRESSES_FOLDER}${network.id}/`, signal);
  const entry = entries.find((each) => heldOf(each)?.address.equals(address));
  const held = entry === undefined ? null : heldOf(entry);
  if (held === null)
    throw new ConfigError(`${address} is not held in network ${network.name}; see "tulle network ipam list"`);
  if (!isAbsent(overview, network.id) && held.holder !== null && overview.hosts.has(held.holder.host))
    throw new ConflictError(
      `${address} is held by host ${held.holder.name}, which is up and gives it back when it needs it no more; stop its daemon first`,
    );
  if ((await removeRecords(store.records, [held.entry], signal)) === 0)
    throw new ConflictError(`${address} changed meanwhile; try again`);
}

/** Deletes all addresses and members of a host that is away, and returns how many. Throws ConfigError, ConflictError. */
export async function releaseHost(
  store: NetworkStore,
  overview: Overview,
  which: string,
  signal: AbortSignal,
): Promise<{ readonly host: HostId; readonly addresses: number }> {
  const { records } = store;
  const held = (await records.list(ADDRESSES_FOLDER, signal)).flatMap((entry) => heldOf(entry) ?? []);
  const members = await records.list(MEMBERS_FOLDER, signal);
  const host = selectHost(
    which,
    overview,
    held,
    members.flatMap(({ key }) => parseMembersRecord(key)?.host ?? []),
  );
  if (overview.hosts.has(host))
    throw new ConflictError(
      `host ${overview.hosts.get(host)?.name} is up: its containers have these addresses; stop its daemon first`,
    );
  const own = held.filter(({ holder }) => holder?.host === host).map(({ entry }) => entry);
  const ownMembers = members.filter(({ key }) => parseMembersRecord(key)?.host === host);
  await removeRecords(records, ownMembers, signal);
  return { host, addresses: await removeRecords(records, own, signal) };
}

function selectHost(
  which: string,
  { hosts }: Overview,
  held: readonly HeldAddress[],
  withMembers: readonly HostId[],
): HostId {
  const names = new Map<HostId, string>(withMembers.map((host) => [host, host]));
  for (const { holder } of held) if (holder !== null) names.set(holder.host, holder.name);
  for (const [host, { name }] of hosts) names.set(host, name);
  const found = [...names].filter(([host, name]) => host === which || name === which).map(([host]) => host);
  const [first] = found;
  if (first === undefined)
    throw new ConfigError(`"${which}" names no host with addresses; give a host's name or node id`);
  if (found.length > 1)
    throw new ConfigError(`"${which}" names several hosts, ${found.join(", ")}; give one of these node ids`);
  return first;
}

function absentProblem({ address, network }: HeldAddress, overview: Overview): string {
  return isAbsent(overview, network)
    ? `its network does not exist; run "tulle network ipam release ${network} ${address}"`
    : "its network cannot be read in the store";
}

/** Whether it was removed. Without a readable catalogue, no network is known to be. */
function isAbsent({ ids }: Overview, network: string): boolean {
  return ids !== null && !ids.has(network);
}

function problemOf(
  { address, holder }: HeldAddress,
  network: NamedNetwork,
  user: PlacedMember | null,
  gone: ReadonlySet<HostId>,
): string | null {
  if (holder === null) return "its record is damaged; release it";
  const pool = network.pools[address.family];
  const problem =
    pool === undefined ? "is of a family without a pool" : containerAddressProblem(pool, address);
  if (problem !== null) return `cannot be given: ${problem}`;
  if (user !== null && user.host !== holder.host)
    return `is used by container ${titleOf(user.member)} on host ${user.hostName}, which does not hold it`;
  if (gone.has(holder.host))
    return `its host ${holder.name} is gone; release it, or it is used again when the pool is full`;
  return null;
}

function usersOf(members: readonly PlacedMember[]): ReadonlyMap<string, PlacedMember> {
  return new Map(
    members.flatMap((placed) =>
      entriesOf(placed.member.addresses).map(
        ([, address]) => [keyOf(placed.network.id, address), placed] as const,
      ),
    ),
  );
}

function keyOf(network: string, address: Address): string {
  return `${network} ${address}`;
}

export function titleOf({ names, container, endpoint }: PlacedMember["member"]): string {
  return names[0] ?? container ?? endpoint;
}

function byNetworkAndAddress(a: AuditedAddress, b: AuditedAddress): number {
  const [left, right] = [a, b].map(({ network, held }) => network?.name ?? held.network);
  if (left !== right) return (left ?? "") < (right ?? "") ? -1 : 1;
  return a.held.address.value < b.held.address.value ? -1 : 1;
}
