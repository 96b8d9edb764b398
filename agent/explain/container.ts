/** The container that a packet comes from, as this host sees it, and what its own kernel tables say. Reads only. */

import { readdirSync } from "node:fs";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import type { Link } from "../../backends/netlink/link/link.ts";
import { NetnsHandle } from "../../backends/netlink/netns.ts";
import { RTN_UNICAST } from "../../backends/netlink/route.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { hasCode } from "../../ipam/errors.ts";
import { passDevices } from "./firewall-step.ts";
import { KernelView } from "./kernel-view.ts";
import { NO_CONTAINER, neighbourOn, requireBridge, requireUp } from "./link-step.ts";
import type { Scene } from "./scene.ts";

export interface Container {
  readonly address: Address;
  /** The device by which the host's IP layer sees its packets: a bridge, or the host's end of its pair. */
  readonly bridge: Link;
  /** The bridge's port of the container; null where none is known. */
  readonly port: Link | null;
}

/** The container that has an address, by this host's routes and forwarding entries; null where it is none of this host's. */
export function findContainer(kernel: KernelView, address: Address): Container | null {
  return (
    attachedContainer(kernel, address) ??
    cutOffContainer(kernel, address) ??
    // A policy rule may lead packets of the host elsewhere.
    behindBridge(kernel, address, true)
  );
}

function attachedContainer(kernel: KernelView, address: Address): Container | null {
  const found = kernel.lookup(address, {});
  if (found.type === "error" || found.route.type !== RTN_UNICAST || found.path.gateway !== null) return null;
  const link = kernel.link(found.path.outputIndex);
  if (link === null) return null;
  const isPair = link.type === "veth" && found.route.destination.size === 1n;
  if (isPair) return { address, bridge: link, port: link };
  if (link.type !== "bridge") return null;
  const mac = kernel.neighbour(link.index, address)?.mac ?? null;
  const port = mac === null ? null : kernel.portOf(link, mac);
  return { address, bridge: link, port: port ?? findInside(kernel, link, address)?.port ?? null };
}

/** One behind a bridge that is down: with it went its routes, and in IPv6 its addresses. */
export function cutOffContainer(kernel: KernelView, address: Address): Container | null {
  return behindBridge(kernel, address, false);
}

function behindBridge(kernel: KernelView, address: Address, isUp: boolean): Container | null {
  for (const bridge of kernel.links.filter((link) => link.type === "bridge" && link.isUp === isUp)) {
    const port = findInside(kernel, bridge, address)?.port ?? null;
    const isHere = port !== null || (!isUp && kernel.hasOnLink(bridge, address));
    if (isHere) return { address, bridge, port };
  }
  return null;
}

/**
 * The packet's way inside the container. The hardware address that it gets where the destination is on the container's own
 * link; null where it goes to this host as the gateway.
 */
export function leaveContainer(scene: Scene, container: Container, destination: Address): Mac | null {
  const { kernel, steps, mtu } = scene;
  const { address, bridge, port } = container;
  const where = port === null || port === bridge ? bridge.name : `port ${port.name} of bridge ${bridge.name}`;
  if (port === null)
    steps.doubt("container", `${address} is on bridge ${bridge.name}, but no entry tells behind which port`);
  else steps.ok("container", `${address} is behind ${where}, MTU ${port.mtuBytes}`);
  if (bridge.type === "bridge") requireBridge(scene, bridge);
  if (port !== null && port !== bridge) requireUp(scene, port);
  passDevices(scene, "ingress", [port, bridge]);
  const inside = port === null ? null : openInside(kernel, port);
  if (inside === null) {
    steps.doubt("container", "the container's own routes are not known: its network namespace is not found");
    mtu.pass(port?.name ?? bridge.name, (port ?? bridge).mtuBytes);
    return null;
  }
  try {
    return decideInside({ ...scene, kernel: new KernelView(inside) }, container, destination, kernel);
  } finally {
    inside.close();
  }
}

function decideInside(
  scene: Scene,
  { address, bridge }: Container,
  destination: Address,
  host: KernelView,
): Mac | null {
  const { kernel, steps, mtu } = scene;
  const found = kernel.lookup(destination, { source: address });
  if (found.type === "error")
    return steps.stop("container", `the container has no route to ${destination} (${found.errnoName})`, {
      remedy: "give the container a default route: its network configuration lacks one",
    });
  const { route, path } = found;
  const link = kernel.link(path.outputIndex);
  if (link === null || route.type !== RTN_UNICAST)
    return steps.end("delivered", `the packet does not leave the container, which has ${destination} itself`);
  const gateway = path.gateway === null ? "" : ` via ${path.gateway}`;
  steps.ok("container", `inside: ${route.destination}${gateway} dev ${link.name}, MTU ${link.mtuBytes}`);
  mtu.pass(`${link.name} of the container`, Math.min(link.mtuBytes, path.mtuBytes ?? link.mtuBytes));
  if (bridge.type !== "bridge") return null;
  if (path.gateway !== null) {
    requireBridgesEntry(scene, link, path.gateway, bridge);
    return null;
  }
  if (host.addresses().some((one) => one.address.equals(destination))) return null;
  const mac =
    neighbourOn(scene, link, destination, NO_CONTAINER) ?? findInside(host, bridge, destination)?.mac ?? null;
  if (mac !== null) return mac === bridge.mac ? null : mac;
  return steps.end(
    "unknown",
    `the packet waits until something on the container's own link answers for ${destination}`,
  );
}

/** Ends the way where the container has the hardware address of something else for its gateway. */
function requireBridgesEntry({ kernel, steps }: Scene, link: Link, gateway: Address, bridge: Link): void {
  const mac = kernel.neighbour(link.index, gateway)?.mac ?? null;
  if (mac === null || mac === bridge.mac) return;
  const text = `the container sends packets for ${gateway} to ${mac}, and bridge ${bridge.name} has ${bridge.mac}`;
  steps.stop("container", text, { cause: "path-diverted" });
}

/** Where runtimes keep namespaces, and those of processes. */
const NAMESPACE_FOLDERS = ["/run/netns", "/run/docker/netns"];

/** A connection in the namespace of the other end of a pair; null where that is not found. */
function openInside(kernel: KernelView, port: Link): NetlinkConnection | null {
  for (const { id, open } of namespaces(kernel)) if (id === port.linkNetnsId) return open();
  return null;
}

/** The port of a bridge whose container has the address, and the container's hardware address. */
export function findInside(
  kernel: KernelView,
  bridge: Link,
  address: Address,
): { readonly port: Link; readonly mac: Mac | null } | null {
  const ports = new Map(
    kernel.links
      .filter(({ masterIndex, linkNetnsId }) => masterIndex === bridge.index && linkNetnsId !== null)
      .map((port) => [port.linkNetnsId, port]),
  );
  for (const { id, open } of namespaces(kernel)) {
    const port = ports.get(id);
    if (port === undefined) continue;
    const inside = open();
    try {
      const container = new KernelView(inside);
      const own = container.addresses().find((one) => one.address.equals(address));
      if (own !== undefined) return { port, mac: container.link(own.interfaceIndex)?.mac ?? null };
    } finally {
      inside.close();
    }
  }
  return null;
}

interface FoundNamespace {
  /** By which this host's namespace knows it. */
  readonly id: number;
  /** To be closed by the caller; only while it is the current one. */
  readonly open: () => NetlinkConnection;
}

/** Every namespace that this host's knows, once. */
function* namespaces(kernel: KernelView): Generator<FoundNamespace> {
  const seen = new Set<string>();
  for (const path of namespacePaths()) {
    const handle = openOrNull(path);
    if (handle === null) continue;
    try {
      if (seen.has(handle.identity)) continue;
      seen.add(handle.identity);
      const id = kernel.namespaceId(handle);
      if (id !== null) yield { id, open: () => NetlinkConnection.open({ netns: handle }) };
    } finally {
      handle.close();
    }
  }
}

function* namespacePaths(): Generator<string> {
  for (const folder of NAMESPACE_FOLDERS) for (const name of namesIn(folder)) yield `${folder}/${name}`;
  for (const pid of namesIn("/proc")) if (/^\d+$/.test(pid)) yield `/proc/${pid}/ns/net`;
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** A process may end meanwhile, and some files are not namespaces. */
function openOrNull(path: string): NetnsHandle | null {
  try {
    return NetnsHandle.open(path);
  } catch (error) {
    if (error instanceof NetlinkError) return null;
    throw error;
  }
}
