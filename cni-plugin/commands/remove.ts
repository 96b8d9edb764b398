/** Removes one attachment, however it was made. For DEL and GC. */

import { detach, detachNetwork, isOfAnother } from "../../backends/attachment/attach.ts";
import { portName } from "../../backends/attachment/port-name.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { Reservation } from "../../ipam/containers/addresses.ts";
import { type Attachment, isHeldBy } from "../../ipam/containers/attachment.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { planRemoval, type RemovalPlan } from "../config/plan.ts";
import { hasPort, openAddresses } from "../host/addresses.ts";
import type { Call } from "../protocol/call.ts";
import { toCniError } from "../protocol/errors.ts";

export interface Removal {
  readonly attachment: Attachment;
  /** The configuration that ADD used: the record, or what can be derived without one. */
  readonly delegate: JsonObject;
  readonly isRecorded: boolean;
  /** The container's namespace; null when it is gone. */
  readonly netns: NetnsHandle | null;
}

/** The reservations in a network's folder. */
export type ListReservations = (dataDir: string) => Promise<readonly Reservation[]>;

/**
 * Removes devices and rules and, last, the reservations, by which everything else is found. A delegate that fails
 * without a record has probably nothing left to remove: that is a warning only. Throws CniError or
 * what the libraries throw.
 */
export async function removeAttachment(call: Call, removal: Removal, list: ListReservations): Promise<void> {
  const { attachment, netns } = removal;
  const plan = planRemoval(removal.delegate);
  if (!plan.isOwn && (await isRemovedByDelegate(call, removal, plan))) return;
  const network = call.networkName;
  if (plan.isOwn && mayHaveOthersRules(network, removal, plan))
    await isRemovedByDelegate(call, { ...removal, isRecorded: false }, plan);
  const held = (await list(plan.dataDir)).filter((reservation) => isHeldBy(reservation, attachment));
  const common = { network, addresses: held.map(({ address }) => address), rules: plan.rules };
  await detach({
    ...common,
    portName: portName(network, attachment),
    container: netns === null ? null : { netns, name: attachment.interfaceName },
  });
  await openAddresses(plan.dataDir, network).release(held, () => detachNetwork(common));
}

/**
 * The plugin bridge masquerades by rules of its own, which only it finds, by the addresses of the interface. What tulle
 * made has a port of its name.
 */
function mayHaveOthersRules(
  network: string,
  { attachment, isRecorded, netns }: Removal,
  { rules }: RemovalPlan,
): boolean {
  return rules.masquerade !== null && isRecorded && netns !== null && !hasPort(network, attachment);
}

async function isRemovedByDelegate(
  call: Call,
  { attachment, isRecorded, netns }: Removal,
  { type, delegate }: RemovalPlan,
): Promise<boolean> {
  const { invokePlugin } = await import("../host/invoke.ts");
  const end = netns === null ? null : { netns, name: attachment.interfaceName };
  const isGone = end === null || isOfAnother(portName(call.networkName, attachment), end);
  const netnsPath = isGone ? "" : call.netnsPath;
  try {
    invokePlugin("DEL", type, delegate, { ...call, ...attachment, netnsPath });
    return true;
  } catch (error) {
    if (isRecorded) throw error;
    call.warn(toCniError(error).message);
    return false;
  }
}
