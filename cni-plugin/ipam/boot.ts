/**
 * No container outlives the boot it was started in, so that addresses reserved before it are free. Runtimes that
 * forgot such containers never call DEL for them.
 *
 * Which boot a folder's reservations belong to stands in a marker beside them. A folder without a marker may hold
 * reservations that host-local made since this boot: it gets one, and its reservations stay.
 */

import type { Attachment, Reservations } from "./reservations.ts";

/** Linux: a new random UUID at every boot. */
export const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

/** Frees what earlier boots left, but for attachments that are alive after all. Answers who lost an address. */
export function reclaimEarlierBoots(
  store: Reservations,
  bootId: string,
  isAlive: (attachment: Attachment) => boolean,
): readonly Attachment[] {
  const marked = store.bootId();
  if (marked === bootId) return [];
  const gone = marked === null ? [] : store.list().filter((reservation) => !isAlive(reservation));
  for (const { address } of gone) store.release(address);
  store.setBootId(bootId);
  return gone;
}
