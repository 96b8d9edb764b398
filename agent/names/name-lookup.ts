/**
 * Names and addresses in the view of named networks. Pure.
 *
 * A view is replaced at each change, most of its records stay: so each host's members in a network are indexed by
 * themselves, when the first query meets them, and a change costs the index of one host.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type {
  HostMembers,
  Member,
  NamedNetwork,
  NetworkId,
} from "../../ipam/named-networks/named-network.ts";

type View = Pick<NamedNetworksView, "networks" | "members">;

interface HostIndex {
  readonly byName: ReadonlyMap<string, readonly Member[]>;
  readonly byAddress: ReadonlyMap<string, Member>;
}

const indexes = new WeakMap<HostMembers, HostIndex>();

/**
 * The members of `networks` with this name, in lower case: `NAME`, or as in Docker `NAME.NETWORK`. Empty when the name is
 * unknown there.
 */
export function findMembers(view: View, networks: readonly NetworkId[], name: string): readonly Member[] {
  return networks.flatMap((id) => {
    const network = view.networks.get(id);
    if (network === undefined) return [];
    const names = [name, withoutNetwork(name, network)].filter((each) => each !== null);
    return hostIndexes(view, id).flatMap(({ byName }) => names.flatMap((each) => byName.get(each) ?? []));
  });
}

/** The addresses of a family that these members have, each once. */
export function addressesOf(members: readonly Member[], family: Family): readonly Address[] {
  const addresses = members.flatMap(({ addresses }) => addresses[family] ?? []);
  return [...new Map(addresses.map((address) => [address.toString(), address])).values()];
}

/**
 * A name of each member with an address in `networks`: `NAME.NETWORK`, or `NAME` where only that is a name of the DNS.
 * Empty when no member has the address.
 */
export function namesAt(view: View, networks: readonly NetworkId[], address: Address): readonly string[] {
  return networks.flatMap((id) => {
    const network = view.networks.get(id);
    if (network === undefined) return [];
    const members = hostIndexes(view, id).flatMap(({ byAddress }) => byAddress.get(address.toString()) ?? []);
    return members.flatMap(
      ({ names }) =>
        names.map((name) => `${name}.${network.name}`).find(isDomainName) ?? names.find(isDomainName) ?? [],
    );
  });
}

/** RFC 1035 §2.3.4. Docker and compose give longer names, and names with empty labels. */
function isDomainName(name: string): boolean {
  const isLabel = (label: string): boolean => label !== "" && Buffer.byteLength(label) <= 63;
  return Buffer.byteLength(name) <= 253 && name.split(".").every(isLabel);
}

function withoutNetwork(name: string, { name: network }: NamedNetwork): string | null {
  const ending = `.${network.toLowerCase()}`;
  return name.endsWith(ending) ? name.slice(0, -ending.length) : null;
}

function hostIndexes({ members }: View, network: NetworkId): readonly HostIndex[] {
  return [...(members.get(network)?.values() ?? [])].map(indexOf);
}

function indexOf(host: HostMembers): HostIndex {
  const known = indexes.get(host);
  if (known !== undefined) return known;
  const byName = new Map<string, Member[]>();
  const byAddress = new Map<string, Member>();
  for (const member of host.members) {
    for (const name of new Set(member.names)) {
      const same = byName.get(name);
      if (same === undefined) byName.set(name, [member]);
      else same.push(member);
    }
    for (const address of Object.values(member.addresses)) byAddress.set(address.toString(), member);
  }
  const index = { byName, byAddress };
  indexes.set(host, index);
  return index;
}
