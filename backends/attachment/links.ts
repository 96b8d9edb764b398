/** Looking up and deleting devices, with absence as an ordinary answer. */

import type { NetlinkConnection } from "../netlink/connection.ts";
import { NetlinkError } from "../netlink/errors.ts";
import { decodeLink, encodeDeleteLink, encodeGetLink, type Link } from "../netlink/link/link.ts";

/** The device of this name, null when there is none. Throws NetlinkError. */
export function findLink(connection: NetlinkConnection, name: string): Link | null {
  try {
    return getLink(connection, name);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return null;
    throw error;
  }
}

/** The device with this index, null when there is none. Throws NetlinkError. */
export function findLinkByIndex(connection: NetlinkConnection, index: number): Link | null {
  try {
    return connection.get(encodeGetLink({ index }), decodeLink);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return null;
    throw error;
  }
}

/** The device of this name. Throws NetlinkError. */
export function getLink(connection: NetlinkConnection, name: string): Link {
  return connection.get(encodeGetLink({ name }), decodeLink);
}

/** Deletes a device, a pair by either end; absent is a success. It takes the kernel milliseconds. Throws NetlinkError. */
export async function deleteLink(connection: NetlinkConnection, name: string): Promise<void> {
  try {
    await connection.requestAsync(encodeDeleteLink({ name }));
  } catch (error) {
    if (!isErrno(error, "ENODEV")) throw error;
  }
}

/** Runs `body`; failures with one of these errno names count as success. */
export function ignoring(errnoNames: readonly string[], body: () => void): void {
  try {
    body();
  } catch (error) {
    if (!errnoNames.some((name) => isErrno(error, name))) throw error;
  }
}

/** True for a refusal of the kernel with this errno's name. */
export function isErrno(error: unknown, errnoName: string): boolean {
  return error instanceof NetlinkError && error.errnoName === errnoName;
}
