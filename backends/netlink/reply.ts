/** What the kernel answers to every netlink request: an acknowledgement or an error (`struct nlmsgerr`). No I/O. */

import { NetlinkError } from "./errors.ts";
import { type NetlinkMessage, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR } from "./message.ts";

/** linux/netlink.h `enum nlmsgerr_attrs` */
const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** The error number and the copy of the request's header that every answer repeats. */
const ERROR_HEADER_BYTES = 4 + 16;

/** True for the message that ends the answer to one request. */
export function isFinal(message: NetlinkMessage): boolean {
  return message.type === NLMSG_ERROR || message.type === NLMSG_DONE;
}

/** The error that a final message carries, null for success. Throws CodecError. */
export function errorOf(message: NetlinkMessage, operation: string): NetlinkError | null {
  const errno = message.length < 4 ? 0 : -message.i32(0);
  if (errno === 0) return null;
  return new NetlinkError(operation, errno, extendedAck(message));
}

/** Reads the text and the offset that the kernel adds to an error (Documentation/userspace-api/netlink/intro). */
function extendedAck(message: NetlinkMessage): { kernelMessage?: string; offset?: number } {
  const ack: { kernelMessage?: string; offset?: number } = {};
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return ack;
  const attributes = message.attributes(headerLengthOf(message));
  while (attributes.next()) {
    if (attributes.type === NLMSGERR_ATTR_MSG) ack.kernelMessage = attributes.string();
    else if (attributes.type === NLMSGERR_ATTR_OFFS) ack.offset = attributes.u32();
  }
  return ack;
}

/** An uncapped error repeats the whole request; the end of a dump repeats none of it. */
function headerLengthOf(message: NetlinkMessage): number {
  if (message.type === NLMSG_DONE) return 4;
  return (message.flags & NLM_F_CAPPED) === 0 ? 4 + message.u32(4) : ERROR_HEADER_BYTES;
}
