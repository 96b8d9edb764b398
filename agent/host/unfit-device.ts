/** Which devices can never carry the tunnel, whatever a rule says: those that the tunnel or its containers depend on. Pure. */

import { IFF_LOOPBACK } from "../../backends/netlink/link/link.ts";
import { isOverlayDevice } from "../../backends/registry.ts";
import { type Address, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { FamilyNetwork } from "../../ipam/config/network-config.ts";
import type { HostAddress, HostLink, HostSnapshot } from "./host-snapshot.ts";
import { leadsOut } from "./uplink.ts";

/** The addresses that belong to containers. */
export interface ContainerRanges {
  /** The address plan of the network. */
  readonly plan: PerFamily<FamilyNetwork>;
  /** This host's own subnets, where they are known. */
  readonly subnets: readonly Prefix[];
  /** The lease stores, as far as their addresses are known: an interface that leads to them is not the containers'. */
  readonly stores?: readonly Address[];
}

/** Why `link` can never carry the tunnel, as in "lo is the loopback"; null when it may. */
export function unfitness(link: HostLink, host: HostSnapshot, ranges: ContainerRanges): string | null {
  if ((link.flags & IFF_LOOPBACK) !== 0) return `${link.name} is the loopback`;
  if (isOverlayDevice(link.name)) return `${link.name} is a tunnel device of the overlay`;
  const master = masterOf(link, host);
  if (master !== undefined) return `${link.name} is a port of ${master.name}`;
  const own = leadsOut(link, host, ranges.stores ?? [])
    ? undefined
    : host.addresses.find(
        (address) => address.interfaceIndex === link.index && isOfContainers(address, link, ranges),
      );
  if (own !== undefined) {
    return `${link.name} has ${own.address}/${own.length} of this host's own containers`;
  }
  return link.mtuBytes > 0 ? null : `${link.name} has an MTU of ${link.mtuBytes}`;
}

/** What a port receives goes to its bridge or bond. Only a VRF leaves its devices their addresses. */
function masterOf(link: HostLink, { links }: HostSnapshot): HostLink | undefined {
  const master = links.find(({ index }) => index === link.masterIndex);
  return master?.type === "vrf" ? undefined : master;
}

/** A bridge such as docker0 or cni0 has the first address of a subnet, also one that this host had before. */
function isOfContainers({ address, length }: HostAddress, link: HostLink, ranges: ContainerRanges): boolean {
  if (ranges.subnets.some((subnet) => subnet.contains(address))) return true;
  const plan = ranges.plan[address.family];
  if (link.type !== "bridge" || plan === undefined || !plan.network.contains(address)) return false;
  return length === plan.subnetLength && isFirstIn(Prefix.of(address, length), address);
}

function isFirstIn({ base }: Prefix, address: Address): boolean {
  return base.plus(1).equals(address);
}
