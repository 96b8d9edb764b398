/**
 * The way outside for containers on named networks, whose own bridges have no address of the host: an interface `tulle0` on
 * a bridge of this host alone, with the default route, published ports and the way to tulled's name server. What
 * docker_gwbridge is to Docker.
 *
 * The addresses are link-local (RFC 3927) and the same on every host, because they are masqueraded: no network that
 * a user may choose collides with them. Ports are isolated, so that the bridge joins no two containers.
 */

import { attach, detach } from "../../backends/attachment/attach.ts";
import { findLink } from "../../backends/attachment/links.ts";
import { portName } from "../../backends/attachment/port-name.ts";
import { type PublishedPort, publishPorts, unpublishPorts } from "../../backends/attachment/rules/publish.ts";
import type { AttachmentSpec } from "../../backends/attachment/spec.ts";
import type { Undo } from "../../backends/attachment/undo.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { Prefix } from "../../ipam/addresses/ip.ts";
import type { Reservation } from "../../ipam/containers/addresses.ts";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import type { HostLocalAddresses } from "../../ipam/containers/host-local.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { hasPort, openAddresses } from "../host/addresses.ts";
import { openNetnsIfPresent } from "../host/host.ts";

/** Names reservations, rules and ports. */
const NETWORK = "tulle-outside";
export const BRIDGE = "br-tulle";
const INTERFACE = "tulle0";
/** As the daemon's firewall has it (agent/named-networks/segment-firewall.ts). */
export const SUBNET = Prefix.parse("169.254.96.0/20");
const GATEWAY = SUBNET.base.plus(1n);
/** tulled's name server (agent/names/name-server-address.ts), by a route of its own: other networks may be the default. */
export const NAME_SERVER = Prefix.parse("169.254.53.53/32");
const EVERYWHERE = Prefix.parse("0.0.0.0/0");
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

  /** Makes the interface where the container has none yet, and publishes ports. */
  async attach(
    containerId: string,
    netns: NetnsHandle,
    allocation: Allocation,
    ports: readonly PublishedPort[],
    undo: Undo,
  ): Promise<void> {
    const attachment = attachmentOf(containerId);
    const port = portName(NETWORK, attachment);
    if (!hasPort(NETWORK, attachment) || !hasInterface(netns)) {
      // Left in the namespace that the container had before podman was killed.
      await detach({ network: NETWORK, portName: port, container: null, addresses: [], rules: RULES });
      await attach(specOf(port, netns, allocation), undo);
    }
    if (ports.length === 0) return;
    undo.push(() => unpublishPorts(port));
    await publishPorts(port, [allocation], ports);
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

function specOf(port: string, netns: NetnsHandle, allocation: Allocation): AttachmentSpec {
  return {
    network: NETWORK,
    mtuBytes: 0,
    bridge: { name: BRIDGE, isPromiscuous: false, gateway: { force: false } },
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
      addresses: [allocation],
      routes: [
        { destination: NAME_SERVER, gateway: null },
        { destination: EVERYWHERE, gateway: null, metric: DEFAULT_METRIC },
      ],
    },
    rules: RULES,
  };
}
