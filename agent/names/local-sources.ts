/** Where containers' queries may come from: bridges of this host's containers, and the host itself. Pure. */

import { type Address, Prefix } from "../../ipam/addresses/ip.ts";
import type { HostLink, HostSnapshot } from "../host/host-snapshot.ts";
import { isCard, leadsOut } from "../host/uplink.ts";
import { NAME_SERVER } from "./name-server-address.ts";

export interface LocalSources {
  /** Indexes of the bridges and of the loopback interface. */
  readonly interfaces: readonly number[];
  /** What is attached to these bridges, and the addresses of this host. */
  readonly prefixes: readonly Prefix[];
}

const NOWHERE: LocalSources = { interfaces: [], prefixes: [] };

export { NOWHERE as NO_SOURCES };

/** A bridge with a default route, or with a network card as a port, is an uplink: other hosts are on it. */
export function localSources(host: HostSnapshot): LocalSources {
  const bridges = host.links.filter(({ type }) => type === "bridge").filter((link) => !isUplink(link, host));
  const indexes = new Set(bridges.map(({ index }) => index));
  const loopback = host.links.filter(({ name }) => name === "lo").map(({ index }) => index);
  return {
    interfaces: [...loopback, ...indexes].sort((left, right) => left - right),
    prefixes: host.addresses.map(({ interfaceIndex, address, length }) =>
      // The kernel drops packets from another host with a source of this one (fib_validate_source).
      Prefix.of(address, indexes.has(interfaceIndex) ? length : address.family === 4 ? 32 : 128),
    ),
  };
}

export function isLocalSource({ prefixes }: LocalSources, source: Address): boolean {
  // The host's own queries come from the address that they go to, whether or not the kernel has told of it yet.
  return (
    source.isLoopback || source.equals(NAME_SERVER) || prefixes.some((prefix) => prefix.contains(source))
  );
}

function isUplink(bridge: HostLink, host: HostSnapshot): boolean {
  const ports = host.links.filter(({ masterIndex }) => masterIndex === bridge.index);
  return leadsOut(bridge, host, []) || ports.some(isCard);
}
