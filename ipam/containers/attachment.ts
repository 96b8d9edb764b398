/** One interface of one container, by which its addresses and devices are found. No I/O. */

export interface Attachment {
  readonly containerId: string;
  /** Empty in files of early host-local versions and of flannel, where it means every interface. */
  readonly interfaceName: string;
}

/** True when what `holder` names, a reservation or a record, belongs to `attachment`. */
export function isHeldBy(holder: Attachment, attachment: Attachment): boolean {
  return (
    holder.containerId === attachment.containerId &&
    (holder.interfaceName === attachment.interfaceName || holder.interfaceName === "")
  );
}
