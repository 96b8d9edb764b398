/** What a tunnel device makes of the packet: to which host it goes, and as what. The outer packet takes a way of its own. */

import type { Link } from "../../backends/netlink/link/link.ts";
import { NTF_SELF } from "../../backends/netlink/neighbour.ts";
import type { Address, Family } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { passDevices } from "./firewall-step.ts";
import { requireUp, stateName } from "./link-step.ts";
import type { Packet } from "./packet.ts";
import type { Hop } from "./route-step.ts";
import type { Scene } from "./scene.ts";

/** What leaves a tunnel device. */
export interface Outer {
  readonly remote: Address;
  /** Null where the kernel chooses it. */
  readonly source: Address | null;
  readonly protocol: "udp" | "ipip";
  readonly port: number | null;
  readonly boundTo: Link | null;
  /** Of headers. */
  readonly addedBytes: number;
  /** `VXLAN packets` */
  readonly what: string;
}

const IP_BYTES: Readonly<Record<Family, number>> = { 4: 20, 6: 40 };
const UDP_BYTES = 8;
/** RFC 7348: its own header, and the Ethernet header of the frame inside. */
const VXLAN_BYTES = 8 + 14;
/** WireGuard's data message: header and authentication tag. */
const WIREGUARD_BYTES = 32;
const UDP_BACKEND = /^UDP port (\d+)$/;

const NOT_PLANNED =
  '"tulle status" shows whether the kernel is as planned, and tulled repairs it within moments';

/** Null for a device that is not a tunnel. Ends the way where the tunnel leads nowhere. */
export function enterTunnel(scene: Scene, packet: Packet, { path, link }: Hop): Outer | null {
  if (link === null) return null;
  if (link.type === "vxlan")
    return toPeer(scene, packet, link, enterVxlan(scene, link, path.gateway ?? packet.destination));
  if (link.type === "ipip") return toPeer(scene, packet, link, enterIpip(scene, link, path.gateway));
  if (link.type === "wireguard") return enterWireguard(scene, link, packet.destination);
  return link.type === "tun" ? enterTun(scene, link, packet.destination) : null;
}

/** Ends the way where the tunnel leads to another host than that of the lease. */
function toPeer({ knowledge, steps }: Scene, { destination }: Packet, { name }: Link, outer: Outer): Outer {
  const peer = knowledge.peerOf(destination);
  if (peer === null || peer.target.outer.equals(outer.remote)) return outer;
  const text = `${name} sends it to ${outer.remote}, not to ${peer.target.outer}, where peer ${peer.label} is`;
  return steps.divert("tunnel", text, NOT_PLANNED);
}

function enterVxlan(scene: Scene, link: Link, next: Address): Outer {
  const { kernel, steps } = scene;
  const entry = kernel.neighbour(link.index, next);
  if (entry?.mac == null) {
    return steps.stop("neighbour", `${link.name} has no entry for ${next}, and asks no one for it`, {
      remedy: NOT_PLANNED,
    });
  }
  steps.ok("neighbour", `${next} is ${entry.mac} on ${link.name} (${stateName(entry.state)})`);
  return followVxlan(scene, link, entry.mac);
}

const ALL_OTHERS = "00:00:00:00:00:00";

/** Where a VXLAN device sends a frame for a hardware address. */
function followVxlan(scene: Scene, link: Link, mac: Mac): Outer {
  const { kernel, knowledge, steps } = scene;
  const { vxlan } = link;
  const entries = kernel.forwardingEntries(link.index).filter(({ flags }) => (flags & NTF_SELF) !== 0);
  const entry = entries.find((one) => one.mac === mac) ?? entries.find((one) => one.mac === ALL_OTHERS);
  const remote = entry?.remote ?? vxlan?.group ?? null;
  if (remote === null || vxlan === undefined) {
    return steps.stop("fdb", `${link.name} has no forwarding entry for ${mac}`, { remedy: NOT_PLANNED });
  }
  const shown = entry?.mac === mac ? "" : ", the default destination";
  const peer = knowledge.peerBehind(remote);
  steps.ok("fdb", `${mac} is behind ${remote}${shown}${peer === null ? "" : `, peer ${peer.label}`}`);
  if (entry?.isDetour)
    steps.doubt(
      "fdb",
      `the entry names a port, VNI or device of its own, which is not followed`,
      "that entry",
    );
  return {
    remote,
    source: vxlan.local,
    protocol: "udp",
    port: vxlan.port,
    // The parent is for the default destination alone: an entry names its own device, or none (vxlan_xmit_one).
    boundTo: entry === undefined ? kernel.link(vxlan.parentIndex) : null,
    addedBytes: IP_BYTES[remote.family] + UDP_BYTES + VXLAN_BYTES,
    what: `VXLAN packets (VNI ${vxlan.vni})`,
  };
}

function enterIpip(
  { kernel, steps }: Scene,
  { name, ipip, linkIndex }: Link,
  gateway: Address | null,
): Outer {
  const remote = ipip?.remote ?? gateway;
  if (remote === null)
    return steps.stop("tunnel", `${name} needs a gateway to send to, and the route has none`, {
      remedy: NOT_PLANNED,
    });
  return {
    remote,
    source: ipip?.local ?? null,
    protocol: "ipip",
    port: null,
    boundTo: kernel.link(linkIndex),
    addedBytes: IP_BYTES[4],
    what: "IPIP packets",
  };
}

function enterWireguard({ steps, readWireguard }: Scene, { name }: Link, destination: Address): Outer {
  const device = readWireguard(name);
  const [peer] = (device?.peers ?? [])
    .flatMap((one) => one.allowedPrefixes.map((prefix) => ({ one, prefix })))
    .filter(({ prefix }) => prefix.contains(destination))
    .toSorted((left, right) => right.prefix.length - left.prefix.length);
  if (peer === undefined)
    return steps.stop("tunnel", `${name} has no peer that may have ${destination}`, { remedy: NOT_PLANNED });
  const { endpoint, publicKey } = peer.one;
  if (endpoint === null)
    return steps.stop("tunnel", `${name} does not know where its peer ${publicKey} is`, {
      remedy: NOT_PLANNED,
    });
  steps.ok("tunnel", `${peer.prefix} is of the peer ${publicKey} at ${endpoint.address}`);
  return {
    remote: endpoint.address,
    source: null,
    protocol: "udp",
    port: endpoint.port,
    boundTo: null,
    addedBytes: IP_BYTES[endpoint.address.family] + UDP_BYTES + WIREGUARD_BYTES,
    what: "WireGuard packets",
  };
}

/** The data path in user space sends by the leases, which the daemon knows. */
function enterTun({ knowledge, steps }: Scene, { name }: Link, destination: Address): Outer {
  const peer = knowledge.peerOf(destination);
  const port = UDP_BACKEND.exec(peer?.target.tunnel ?? "")?.[1];
  if (peer === null || port === undefined) {
    const why =
      knowledge.problem === null
        ? "no lease contains the destination"
        : "a program sends on what arrives there";
    return steps.end("unknown", `the packet enters ${name}; ${why}`);
  }
  const remote = peer.target.outer;
  steps.ok("tunnel", `the data path in user space sends it to ${remote}, peer ${peer.label}`);
  return {
    remote,
    source: null,
    protocol: "udp",
    port: Number(port),
    boundTo: null,
    addedBytes: IP_BYTES[remote.family] + UDP_BYTES,
    what: "packets of the udp backend",
  };
}

/** A bridge passes the frame on: to a container of this host, or into a tunnel. */
export function crossBridge(scene: Scene, bridge: Link, mac: Mac, isFor: Address): Outer {
  const { kernel, steps } = scene;
  const port = kernel.portOf(bridge, mac);
  if (port === null) {
    return steps.end(
      "unknown",
      `the packet goes to ${isFor} on bridge ${bridge.name}, to all its ports: no entry tells which one has ${mac}`,
    );
  }
  steps.ok("fdb", `${mac} is behind port ${port.name} of bridge ${bridge.name}`);
  requireUp(scene, port);
  passDevices(scene, "egress", [port, bridge]);
  scene.mtu.pass(port.name, port.mtuBytes);
  if (port.type === "vxlan") return followVxlan(scene, port, mac);
  return steps.end(
    "delivered",
    `the packet reaches ${isFor} behind ${port.name}, a port of bridge ${bridge.name}`,
  );
}
