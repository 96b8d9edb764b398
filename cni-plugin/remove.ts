/** Removes one attachment, by whichever way it was made. For DEL and GC. */

import type { NetnsHandle } from "../backends/netlink/netns.ts";
import type { JsonObject } from "../ipam/json.ts";
import { detach } from "./bridge/detach.ts";
import { isServedInProcess } from "./bridge/options.ts";
import type { Call } from "./call.ts";
import { toCniError } from "./errors.ts";
import { typeOf } from "./host.ts";
import type { Attachment } from "./ipam/reservations.ts";

/**
 * Removes devices, rules and reservations of `attachment`. A delegate that fails without a record of what it was
 * told has probably nothing left to remove: that is a warning only. Throws CniError or NetlinkError.
 */
export async function removeAttachment(
  call: Call,
  attachment: Attachment,
  delegate: JsonObject,
  isRecorded: boolean,
  netns: NetnsHandle | null,
): Promise<void> {
  if (!isServedInProcess(delegate)) {
    const { invokePlugin } = await import("./invoke.ts");
    const netnsPath = netns === null ? "" : call.netnsPath;
    try {
      invokePlugin("DEL", typeOf(delegate), delegate, { ...call, ...attachment, netnsPath });
      return;
    } catch (error) {
      if (isRecorded) throw error;
      call.warn(toCniError(error).message);
    }
  }
  await detach({ networkName: call.networkName, attachment, delegate, netns });
}
