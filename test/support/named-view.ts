/** Views of named networks for tests, from a few words. */

import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type {
  HostId,
  HostMembers,
  Member,
  NamedNetwork,
  NetworkId,
} from "../../ipam/named-networks/named-network.ts";

export function networkId(index: number): NetworkId {
  return index.toString(16).padStart(32, "0") as NetworkId;
}

export function hostId(index: number): HostId {
  return `h${index}`.padStart(32, "0") as HostId;
}

/** A member with these addresses, in text. */
export function member(names: readonly string[], ...addresses: readonly string[]): Member {
  const parsed = addresses.map(Address.parse);
  const of = (family: Family) => parsed.find((address) => address.family === family);
  const [four, six] = [of(4), of(6)];
  return {
    endpoint: `endpoint-${names[0] ?? addresses[0]}`,
    container: null,
    engine: "docker",
    names,
    mac: parseMac("02:00:00:00:00:01"),
    addresses: { ...(four === undefined ? {} : { 4: four }), ...(six === undefined ? {} : { 6: six }) },
  };
}

/** `members` by network name, then one list for each host. Networks get the ids 1, 2, … in this order. */
export function viewOf(members: Readonly<Record<string, readonly (readonly Member[])[]>>): NamedNetworksView {
  const entries = Object.entries(members).map(([name, hosts], index) => {
    const id = networkId(index + 1);
    const ofHosts = hosts.map((list, host): [HostId, HostMembers] => [
      hostId(host),
      { host: hostId(host), network: id, members: list },
    ]);
    return { id, network: network(id, name, index), members: new Map(ofHosts) };
  });
  return {
    networks: new Map(entries.map(({ id, network: each }) => [id, each])),
    members: new Map(entries.map(({ id, members: each }) => [id, each])),
    hosts: new Map(),
  };
}

function network(id: NetworkId, name: string, index: number): NamedNetwork {
  const subnet = Prefix.parse(`10.${100 + index}.0.0/16`);
  return {
    id,
    name,
    vni: 4096 + index,
    pools: { 4: { subnet, allocation: subnet, gateway: subnet.base.plus(1), excluded: [] } },
    isInternal: false,
    hasBroadcast: false,
    mtuBytes: null,
    labels: {},
    options: {},
    createdSeconds: 0,
  };
}
