/**
 * The way outside for containers on named networks, whose own bridges have no address of the host: an interface `tulle0` on
 * a bridge of this host alone, with the default route, published ports and the way to tulled's name server. What
 * docker_gwbridge is to Docker.
 *
 * The addresses are the same on every host, because they are masqueraded. Ports are isolated, so that the bridge joins no
 * two containers. Only containers on a network with IPv6 get an IPv6 address here.
 */

import { attach, detach, extend } from "../../backends/attachment/attach.ts";
import { switchIpv6Off } from "../../backends/attachment/container.ts";
import { findLink } from "../../backends/attachment/links.ts";
import { portName } from "../../backends/attachment/port-name.ts";
import { publishPorts, unpublishPorts } from "../../backends/attachment/rules/publish.ts";
import type { PublishedPort } from "../../backends/attachment/rules/published-port.ts";
import type { AttachmentSpec } from "../../backends/attachment/spec.ts";
import type { Undo } from "../../backends/attachment/undo.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { Reservation } from "../../ipam/containers/addresses.ts";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import type { HostLocalAddresses } from "../../ipam/containers/host-local.ts";
import { OUTSIDE, outsideAddress, outsideGateway } from "../../ipam/containers/outside.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { hasPort, openAddresses } from "../host/addresses.ts";
import { openNetnsIfPresent } from "../host/host.ts";

const NETWORK = OUTSIDE.network;
const INTERFACE = "tulle0";
/** Of the addresses that are reserved; those of the other family follow from them. */
const SUBNET = OUTSIDE.subnets[4];
const GATEWAY = outsideGateway(4);
/** tulled's name server (agent/names/name-server-address.ts), by a route of its own: other networks may be the default. */
export const NAME_SERVER = Prefix.parse("169.254.53.53/32");
const EVERYWHERE: Readonly<Record<Family, Prefix>> = {
  4: Prefix.parse("0.0.0.0/0"),
  6: Prefix.parse("::/0"),
};
/** Behind that of netavark's bridge networks, which have 100. */
const DEFAULT_METRIC = 10_000;
/** tulled has them for all of these containers, with those that keep containers and other hosts from each other. */
const RULES = { masquerade: null, guardsSource: false };

const RANGE = {
  subnet: SUBNET,
  first: SUBNET.base.plus(2n),
  last: SUBNET.base.plus(SUBNET.size - 2n),
  gateway: GATEWAY,
};

export interface OutsideRequest {
  readonly containerId: string;
  readonly netns: NetnsHandle;
  /** As reserve() gave it. */
  readonly allocation: Allocation;
  /** IPv4, and IPv6 where the container has it otherwise. */
  readonly families: readonly Family[];
  readonly ports: readonly PublishedPort[];
}

/** All of it throws what the libraries throw, and expects that one process calls it at a time. */
export class Outside {
  readonly #addresses: HostLocalAddresses;

  /** `addressDir` is the folder of all networks' reservations. */
  constructor(addressDir: string) {
    this.#addresses = openAddresses(addressDir, NETWORK);
  }

  /** The address that the container has, or gets, on the bridge. */
  async reserve(containerId: string, undo: Undo): Promise<Allocation> {
    const attachment = attachmentOf(containerId);
    const held = (await this.#addresses.list()).find((reservation) => isOf(reservation, containerId));
    if (held !== undefined && hasPort(NETWORK, attachment))
      return { address: { address: held.address, length: SUBNET.length }, gateway: GATEWAY };
    if (held !== undefined) await this.#remove(held);
    await this.#removeStale(attachment);
    const request = { rangeSets: [[RANGE]], excluded: [], requested: [] };
    const [allocation] = await this.#addresses.reserve(request, attachment);
    if (allocation === undefined) throw new RangeError("one range gives one address");
    undo.push(() => this.#addresses.release([{ ...attachment, address: allocation.address.address }]));
    return allocation;
  }

  /**
   * Makes the interface where the container has none yet, gives it the families, and publishes ports. `undo` leaves what
   * its other networks have of it: the rest is restrict()'s.
   */
  async attach(
    { containerId, netns, allocation, families, ports }: OutsideRequest,
    undo: Undo,
  ): Promise<void> {
    const attachment = attachmentOf(containerId);
    const port = portName(NETWORK, attachment);
    const spec = specOf(port, netns, allocation, families);
    if (hasPort(NETWORK, attachment) && hasInterface(netns)) extend(spec);
    else {
      // Left in the namespace that the container had before podman was killed.
      await detach({ network: NETWORK, portName: port, container: null, addresses: [], rules: RULES });
      await attach(spec, undo);
    }
    if (ports.length === 0) return;
    // All rules or none are made, and restrict() takes back those of families that no other network needs.
    await publishPorts(port, allocationsOf(allocation, families), ports);
  }

  /** Leaves the container the families, and nothing without any. Absent is a success. */
  async restrict(containerId: string, netnsPath: string, families: readonly Family[]): Promise<void> {
    if (families.length === 0) return await this.remove(containerId, netnsPath);
    if (families.includes(6)) return;
    await unpublishPorts(portName(NETWORK, attachmentOf(containerId)), [6]);
    const netns = openNetnsIfPresent(netnsPath);
    if (netns === null) return;
    try {
      switchIpv6Off(netns, INTERFACE);
    } finally {
      netns.close();
    }
  }

  /** Removes what the container has; absent is a success. */
  async remove(containerId: string, netnsPath: string): Promise<void> {
    const held = (await this.#addresses.list()).filter((reservation) => isOf(reservation, containerId));
    for (const reservation of held) await this.#remove(reservation, netnsPath);
  }

  /** podman may have been killed: no call ever removes what it does not remember. */
  async #removeStale(attachment: Attachment): Promise<void> {
    await this.#addresses.prepare(attachment, () => false);
    for (const reservation of await this.#addresses.list())
      if (!hasPort(NETWORK, reservation)) await this.#remove(reservation);
  }

  async #remove(reservation: Reservation, netnsPath = ""): Promise<void> {
    const port = portName(NETWORK, reservation);
    await unpublishPorts(port);
    const netns = openNetnsIfPresent(netnsPath);
    try {
      const container = netns === null ? null : { netns, name: INTERFACE };
      await detach({
        network: NETWORK,
        portName: port,
        container,
        addresses: [reservation.address],
        rules: RULES,
      });
    } finally {
      netns?.close();
    }
    await this.#addresses.release([reservation]);
  }
}

function hasInterface(netns: NetnsHandle): boolean {
  const container = NetlinkConnection.open({ netns });
  try {
    return findLink(container, INTERFACE) !== null;
  } finally {
    container.close();
  }
}

function attachmentOf(containerId: string): Attachment {
  return { containerId, interfaceName: INTERFACE };
}

function isOf(reservation: Reservation, containerId: string): boolean {
  return reservation.containerId === containerId && reservation.interfaceName === INTERFACE;
}

/** The container's addresses of the families, by that of IPv4. */
function allocationsOf({ address: { address } }: Allocation, families: readonly Family[]): Allocation[] {
  return families.map((family) => ({
    address: { address: outsideAddress(address, family), length: OUTSIDE.subnets[family].length },
    gateway: outsideGateway(family),
  }));
}

function specOf(
  port: string,
  netns: NetnsHandle,
  allocation: Allocation,
  families: readonly Family[],
): AttachmentSpec {
  return {
    network: NETWORK,
    mtuBytes: 0,
    bridge: { name: OUTSIDE.name, isPromiscuous: false, gateway: { force: false, network: [] } },
    port: {
      name: port,
      isHairpin: false,
      isIsolated: true,
      vlans: { untagged: 0, tagged: [], keepsDefault: true },
    },
    container: {
      netns,
      name: INTERFACE,
      mac: null,
      addresses: allocationsOf(allocation, families),
      routes: [
        { destination: NAME_SERVER, gateway: null },
        ...families.map((family) => ({
          ...{ destination: EVERYWHERE[family], gateway: null, metric: DEFAULT_METRIC },
        })),
      ],
    },
    rules: RULES,
  };
}
