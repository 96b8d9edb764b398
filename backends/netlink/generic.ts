/**
 * Generic netlink (linux/genetlink.h): kernel subsystems that are addressed by name, such as WireGuard. The id of a
 * subsystem's family differs from boot to boot; the controller family tells it. Messages only, no I/O.
 *
 *     | nlmsghdr, type = family id | command u8 | version u8 | reserved u16 | attributes …
 */

import { CodecError } from "../../ipam/errors.ts";
import { MessageWriter, type NetlinkMessage } from "./message.ts";

/** linux/genetlink.h */
export const GENL_HDRLEN = 4;
const GENL_ID_CTRL = 0x10;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const CTRL_VERSION = 1;

/** A request to the family `familyId`; `flags` as for MessageWriter. */
export function genericRequest(
  familyId: number,
  command: number,
  version: number,
  flags: number,
): MessageWriter {
  return new MessageWriter(familyId, flags, 512).u8(command).u8(version).u16(0);
}

/** Asks for the id of a family. The kernel loads the module that provides it; ENOENT when there is none. */
export function encodeGetFamily(name: string): Buffer {
  return genericRequest(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_VERSION, 0)
    .attrString(CTRL_ATTR_FAMILY_NAME, name)
    .finish();
}

/** The id in the controller's answer. Throws CodecError. */
export function decodeFamilyId(message: NetlinkMessage): number {
  const attributes = message.attributes(GENL_HDRLEN);
  while (attributes.next()) if (attributes.type === CTRL_ATTR_FAMILY_ID) return attributes.u16();
  throw new CodecError("generic netlink: the controller's answer has no family id");
}
