/** The reservations of one network's containers, in host-local's folder. */

import { readFileSync } from "node:fs";
import { isAttached } from "../../backends/attachment/attach.ts";
import { portName } from "../../backends/attachment/port-name.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Attachment } from "../../ipam/containers/attachment.ts";
import { HostLocalAddresses } from "../../ipam/containers/host-local.ts";
import type { BackgroundSync } from "../../ipam/files/sync.ts";
import { withLock } from "./lock.ts";

/** Linux: a new random UUID at every boot. */
const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";
/**
 * proc(5): its line `btime` is when the system booted, in seconds since 1970, by the clock as it is now. Where the clock
 * was set forward after the boot, files made before that look older than the boot.
 */
const STAT_FILE = "/proc/stat";

/** Reads nothing yet. With `sync`, reservations are on the disk once that has finished. */
export function openAddresses(dataDir: string, network: string, sync?: BackgroundSync): HostLocalAddresses {
  return new HostLocalAddresses({
    dataDir,
    network,
    lock: withLock,
    sync,
    readBootId: () => readFileSync(BOOT_ID_FILE, "utf8").trim(),
    readBootStartMs,
  });
}

function readBootStartMs(): number {
  const seconds = /^btime (\d+)$/m.exec(readFileSync(STAT_FILE, "utf8"))?.[1];
  // Without it nothing counts as older than this boot.
  return seconds === undefined ? 0 : Number(seconds) * 1000;
}

/** True when the attachment's device on the host exists. Throws NetlinkError. */
export function hasPort(network: string, attachment: Attachment): boolean {
  const host = NetlinkConnection.open();
  try {
    return isAttached(host, portName(network, attachment));
  } finally {
    host.close();
  }
}
