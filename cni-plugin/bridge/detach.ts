/** Undoes what attach.ts or the bridge plugin made, whatever is left of it. Absence is a success throughout. */

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { heldBy, release } from "../ipam/allocate.ts";
import { DEFAULT_DATA_DIR } from "../ipam/ranges.ts";
import { type Attachment, Reservations } from "../ipam/reservations.ts";
import { withLock } from "../lock.ts";
import { deleteLink, findLink } from "./links.ts";
import { usesFirewall } from "./options.ts";
import { hostDeviceName } from "./pair.ts";

export interface DetachRequest {
  readonly networkName: string;
  readonly attachment: Attachment;
  /** What ADD was told, or the best that is known of it. */
  readonly delegate: JsonObject;
  /** The container's namespace; null when it is gone. */
  readonly netns: NetnsHandle | null;
}

/**
 * Removes devices, firewall elements and, last, the reservations, by which everything else is found.
 * Throws NetlinkError, CniError or what the file system throws.
 */
export async function detach({ networkName, attachment, delegate, netns }: DetachRequest): Promise<void> {
  const port = hostDeviceName(networkName, attachment);
  deleteHostDevice(port);
  if (netns !== null) deleteContainerDevice(netns, attachment.interfaceName);
  const dataDir = dataDirOf(delegate);
  if (!usesFirewall(delegate)) return releaseAddresses(dataDir, networkName, attachment);
  const addresses = addressesHeld(dataDir, networkName, attachment);
  const { unprotect, unprotectNetwork } = await import("../firewall/protection.ts");
  const rules = { networkName, delegate, port, addresses };
  await unprotect(rules);
  withReservations(dataDir, networkName, (store) => {
    release(store, attachment);
    // A container's rules are made after its reservation, so that without one nobody has any.
    if (store.list().length === 0) unprotectNetwork(rules);
  });
}

/** Deletes the host's end of a pair by its name, which takes the container's end along. */
export function deleteHostDevice(name: string): void {
  const host = NetlinkConnection.open();
  try {
    deleteLink(host, name);
  } finally {
    host.close();
  }
}

/** Frees what the attachment holds. Throws what the file system throws. */
export function releaseAddresses(dataDir: string, networkName: string, attachment: Attachment): void {
  withReservations(dataDir, networkName, (store) => release(store, attachment));
}

/**
 * Runs `body` under the lock of a network's reservations. A network without a folder, or with an empty one, has none:
 * null, without a lock, which a full disk would refuse.
 */
export function withReservations<T>(
  dataDir: string,
  networkName: string,
  body: (store: Reservations) => T,
): T | null {
  const folder = path.join(dataDir, networkName);
  if (!existsSync(folder) || readdirSync(folder).length === 0) return null;
  return withLock(folder, () => body(new Reservations(dataDir, networkName)));
}

/** Where a delegate's configuration keeps its reservations. */
export function dataDirOf(delegate: JsonObject): string {
  const dir = isJsonObject(delegate.ipam) ? delegate.ipam.dataDir : undefined;
  return typeof dir === "string" && dir !== "" ? dir : DEFAULT_DATA_DIR;
}

function addressesHeld(dataDir: string, networkName: string, attachment: Attachment): readonly Address[] {
  const held = withReservations(dataDir, networkName, (store) => heldBy(store, attachment)) ?? [];
  return held.map(({ address }) => address);
}

/** Pairs that the bridge plugin made have a host end of another name: they go by the container's end. */
function deleteContainerDevice(netns: NetnsHandle, interfaceName: string): void {
  const container = NetlinkConnection.open({ netns });
  try {
    if (findLink(container, interfaceName)?.type === "veth") deleteLink(container, interfaceName);
  } finally {
    container.close();
  }
}
