/**
 * Joins a container to a bridge, and removes it again: devices, addresses, routes, rules.
 *
 * It works in the calling thread's network namespace and in the container's; nothing of it survives in this process. A
 * daemon may call it beside other work: what takes long is awaited.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import type { Link } from "../netlink/link/link.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { ensureBridge, ensureGateways, isPinned, pinHardwareAddress, settleBridge } from "./bridge.ts";
import { announce, configureContainer } from "./container.ts";
import { deleteLink, findLink, findLinkByIndex } from "./links.ts";
import { createPair, joinBridge, waitUntilOpen } from "./pair.ts";
import { isPortName } from "./port-name.ts";
import { type AttachmentSpec, type RuleSpec, usesRules } from "./spec.ts";
import type { Undo } from "./undo.ts";
import { ensureGatewayDevice, joinVlans } from "./vlan.ts";

export interface Attached {
  readonly bridge: Link;
  readonly port: Link;
  readonly container: Link;
}

/**
 * Creates what the specification names, and the bridge if it is missing. Each finished step pushes its reversal to
 * `undo`, which the caller runs when this throws. Throws ConflictError, ConfigError, FirewallError or NetlinkError.
 */
export async function attach(spec: AttachmentSpec, undo: Undo): Promise<Attached> {
  const { mtuBytes, port: portSpec, container: containerSpec } = spec;
  const host = NetlinkConnection.open();
  try {
    const former = prepareBridge(host, spec);
    const near = createPair(host, portSpec, containerSpec, mtuBytes);
    undo.push(() => deleteDevice(near.name));
    const port = joinBridge(host, former, near, portSpec);
    joinVlans(host, port, portSpec.vlans);
    const bridge = settleBridge(host, former, spec.bridge);
    const container = configureContainer(containerSpec, spec.bridge.gateway !== null);
    if (usesRules(spec.rules)) {
      const { protect } = await import("./rules/protection.ts");
      const { network, rules } = spec;
      await protect(
        { network, rules, port: port.name, addresses: containerSpec.addresses, mac: container.mac },
        undo,
      );
    }
    await waitUntilOpen(host, port);
    announce(containerSpec.netns, container);
    return { bridge, port, container };
  } finally {
    host.close();
  }
}

/**
 * Adds the addresses and routes of the specification that an attached container lacks, and their gateways on the bridge.
 * Throws as attach() does.
 */
export function extend(spec: AttachmentSpec): void {
  const host = NetlinkConnection.open();
  try {
    prepareBridge(host, spec);
    const container = configureContainer(spec.container, spec.bridge.gateway !== null);
    // The kernel says nothing of an address that comes to an interface without duplicate address detection.
    announce(spec.container.netns, container);
  } finally {
    host.close();
  }
}

/** The bridge, up, with the gateways of the container's addresses. */
function prepareBridge(host: NetlinkConnection, { bridge, port, container, mtuBytes }: AttachmentSpec): Link {
  const link = ensureBridge(host, bridge, mtuBytes, port.vlans);
  if (bridge.gateway === null) return link;
  const device = ensureGatewayDevice(host, link, port.vlans);
  const gateways = container.addresses.map(({ address: { length }, gateway }) => ({
    address: gateway,
    length,
  }));
  const isFirst = ensureGateways(host, link, device, gateways, bridge.gateway);
  if (isFirst || !isPinned(link)) pinHardwareAddress(host, link);
  return link;
}

/** Where a container has, or had, its end of a pair. */
export interface ContainerEnd {
  readonly netns: NetnsHandle;
  readonly name: string;
}

/** An attachment to remove: what is known of it. */
export interface Detached {
  readonly network: string;
  readonly portName: string;
  /** Other programs' pairs have another name on the host; null when the namespace is gone. */
  readonly container: ContainerEnd | null;
  readonly addresses: readonly Address[];
  readonly rules: RuleSpec;
}

/** Removes devices and rules; what is absent is a success. Throws NetlinkError or FirewallError. */
export async function detach({ network, portName, container, addresses, rules }: Detached): Promise<void> {
  await deleteDevice(portName);
  if (container !== null && !isOfAnother(portName, container)) await deleteContainerDevice(container);
  if (!usesRules(rules)) return;
  const { unprotect } = await import("./rules/protection.ts");
  await unprotect({ network, port: portName, addresses, rules });
}

/** Removes what the network's attachments had in common. Call it while none exists and none can be made. */
export async function detachNetwork({
  network,
  addresses,
  rules,
}: Pick<Detached, "network" | "addresses" | "rules">): Promise<void> {
  if (!usesRules(rules)) return;
  const { unprotectNetwork } = await import("./rules/protection.ts");
  await unprotectNetwork({ network, addresses, rules });
}

/** True when the host's end of a pair exists. */
export function isAttached(host: NetlinkConnection, portName: string): boolean {
  return findLink(host, portName) !== null;
}

/**
 * True when the interface belongs to another attachment than the one of `portName`: the path of a namespace may be that
 * of a process whose number was used again, now in another container. Throws NetlinkError.
 */
export function isOfAnother(portName: string, { netns, name }: ContainerEnd): boolean {
  const container = NetlinkConnection.open({ netns });
  const host = NetlinkConnection.open();
  try {
    const end = findLink(container, name);
    const port = end?.linkIndex ? findLinkByIndex(host, end.linkIndex) : null;
    return port?.linkIndex === end?.index && port?.name !== portName && isPortName(port?.name ?? "");
  } finally {
    container.close();
    host.close();
  }
}

/** The host's end takes the container's end along. */
async function deleteDevice(name: string): Promise<void> {
  const host = NetlinkConnection.open();
  try {
    await deleteLink(host, name);
  } finally {
    host.close();
  }
}

async function deleteContainerDevice({ netns, name }: ContainerEnd): Promise<void> {
  const container = NetlinkConnection.open({ netns });
  try {
    if (findLink(container, name)?.type === "veth") await deleteLink(container, name);
  } finally {
    container.close();
  }
}
