/**
 * The host-gw backend: no tunnel, a plain route to each peer by its public address.
 *
 *   10.2.54.0/24 via 192.168.1.243 dev eth0
 *
 * Packets of containers travel as they are, so every host must be on one link with every other, and what lies between
 * them must let such packets through. flannel's scheme: hosts with either agent reach each other. Pure: no I/O.
 */

import { entriesOf, mapFamilies, type PerFamily } from "../ipam/addresses/ip.ts";
import { ConfigError } from "../ipam/errors.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type { HostFacts, PeerPath } from "./backend.ts";
import { DevicelessNetwork, devicelessBackend, noOptions } from "./deviceless.ts";
import { addressProblem, interfacesOf, isOnLink, routeVia } from "./peers.ts";
import { ROUTE_PROTOCOL } from "./state/contract/kind.ts";
import type { KernelObject } from "./state/kinds/registry.ts";

class HostGwNetwork extends DevicelessNetwork {
  readonly type = "host-gw";
  readonly leaseType = "host-gw";
  override readonly sharedDevices: readonly string[];
  override readonly nexthopDevices: readonly string[];
  override readonly entrances: PerFamily<readonly string[]>;
  readonly #host: HostFacts;

  constructor(host: HostFacts) {
    requireOwnAddresses(host);
    super(host);
    this.#host = host;
    this.sharedDevices = interfacesOf(host);
    this.nexthopDevices = this.sharedDevices;
    this.entrances = mapFamilies(host.uplinks, (uplink) => [uplink.interface]);
  }

  override rejectPeer(lease: Lease): string | null {
    const families = entriesOf(this.#host.uplinks).map(([family]) => family);
    return super.rejectPeer(lease) ?? addressProblem(lease, families);
  }

  /** The kernel refuses a gateway that is not on the link. */
  override rejectLocally({ subnets, attrs }: Lease): string | null {
    for (const [family, uplink] of entriesOf(this.#host.uplinks)) {
      const gateway = attrs.publicAddress[family];
      if (subnets[family] === undefined || gateway === undefined || isOnLink(this.#host, gateway)) continue;
      const links = uplink.onLinkPrefixes.join(", ");
      return `its public address ${gateway} is not on the link of ${uplink.interface} (${links}), which host-gw needs; connect the hosts to one link, or use a backend with a tunnel`;
    }
    return null;
  }

  override planPeer({ subnets, attrs }: Lease, useNexthops: boolean): readonly KernelObject[] {
    return entriesOf(this.#host.uplinks).flatMap(([family, { interface: device }]): KernelObject[] => {
      const [subnet, gateway] = [subnets[family], attrs.publicAddress[family]];
      if (subnet === undefined || gateway === undefined) return [];
      const route = routeVia(subnet, gateway, device, { viaNexthop: useNexthops });
      if (!useNexthops) return [route];
      return [route, { kind: "nexthop", device, gateway, isOnlink: false, protocol: ROUTE_PROTOCOL }];
    });
  }

  override pathTo(): PeerPath {
    return "direct";
  }
}

/** Peers use the published address as a gateway, so it must be the interface's own. Throws ConfigError. */
function requireOwnAddresses({ uplinks }: HostFacts): void {
  for (const [, { interface: name, address, publicAddress }] of entriesOf(uplinks)) {
    if (publicAddress.equals(address)) continue;
    throw new ConfigError(
      `host-gw: the public address ${publicAddress} is not the address ${address} of ${name}, and peers route by it: remove -public-ip, or give -iface the interface that has it`,
    );
  }
}

// The next hops of two such networks on one host could not be told apart, hence the lock.
const OPTIONS = noOptions((host) => new HostGwNetwork(host), ["host-gw"]);

export const hostGwBackend = devicelessBackend("host-gw", [], () => OPTIONS);
