/** VLAN memberships of a bridge's ports (linux/if_bridge.h): `bridge vlan`. Messages only, no I/O. */

import { MessageWriter } from "./message.ts";
import { AF_BRIDGE, RTM_DELLINK, RTM_SETLINK } from "./rtnetlink.ts";

/** linux/if_link.h */
const IFLA_AF_SPEC = 26;
/** linux/if_bridge.h */
const IFLA_BRIDGE_VLAN_INFO = 2;
const BRIDGE_VLAN_INFO_PVID = 2;
const BRIDGE_VLAN_INFO_UNTAGGED = 4;

export interface VlanMembership {
  /** 1 to 4094. */
  readonly id: number;
  /** Frames without a tag that come in belong to this VLAN. */
  readonly isPvid?: boolean;
  /** Frames leave without their tag. */
  readonly isUntagged?: boolean;
}

/** `bridge vlan add dev PORT vid ID [pvid] [untagged]`, for each membership. */
export function encodeAddVlans(portIndex: number, memberships: readonly VlanMembership[]): Buffer {
  return write(RTM_SETLINK, portIndex, memberships);
}

/** `bridge vlan del dev PORT vid ID`, for each membership. */
export function encodeDeleteVlans(portIndex: number, memberships: readonly VlanMembership[]): Buffer {
  return write(RTM_DELLINK, portIndex, memberships);
}

/** `struct ifinfomsg` and one `struct bridge_vlan_info` per membership: flags, id. */
function write(type: number, portIndex: number, memberships: readonly VlanMembership[]): Buffer {
  const message = new MessageWriter(type, 0, 256).u8(AF_BRIDGE).u8(0).u16(0).u32(portIndex).u32(0).u32(0);
  return message
    .nestedStrict(IFLA_AF_SPEC, () => {
      for (const { id, isPvid, isUntagged } of memberships) {
        const flags = (isPvid ? BRIDGE_VLAN_INFO_PVID : 0) | (isUntagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0);
        const info = Buffer.alloc(4);
        info.writeUInt16LE(flags);
        info.writeUInt16LE(id, 2);
        message.attrBytes(IFLA_BRIDGE_VLAN_INFO, info);
      }
    })
    .finish();
}
