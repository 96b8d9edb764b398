/** Forwarding entries of VXLAN devices: `bridge fdb`. */

import type { Address } from "../../../ipam/addresses/ip.ts";
import type { Mac } from "../../../ipam/addresses/mac.ts";
import { REPLACE } from "../../netlink/message.ts";
import {
  decodeFdb,
  encodeAppendFdb,
  encodeDeleteFdb,
  encodeFdbDump,
  encodeNewFdb,
  NUD_PERMANENT,
} from "../../netlink/neighbour.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../netlink/rtnetlink.ts";
import { perDevice, requireIndex } from "../contract/device-index.ts";
import { type Kind, objectKey } from "../contract/kind.ts";

/** Frames for `mac` go to `remote`. */
export interface FdbObject {
  readonly kind: "fdb";
  readonly device: string;
  readonly mac: Mac;
  readonly remote: Address;
  readonly isPermanent: boolean;
  /** It uses another port, VNI or interface than its device. */
  readonly isDetour?: true;
}

/** As a destination it stands for all unknown ones, and for groups: the only address here with several remotes. */
export const ALL_ZERO_MAC = "00:00:00:00:00:00" as Mac;

export const fdbKind: Kind<FdbObject> = {
  rank: 4,
  isDeletable: true,
  isOfPeers: true,
  keyOf: ({ device, mac, remote }) =>
    mac === ALL_ZERO_MAC ? objectKey("fdb", device, mac, remote) : objectKey("fdb", device, mac),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.devices.has(device),
  // Learned entries come and go.
  ownerOf: ({ device, isPermanent }, scope) =>
    scope.devices.has(device) && isPermanent ? "ours" : "foreign",
  isSame: (desired, actual) =>
    actual.remote.equals(desired.remote) &&
    actual.isPermanent === desired.isPermanent &&
    actual.isDetour === desired.isDetour,
  describe: ({ device, mac, remote, isPermanent, isDetour }) =>
    `fdb ${mac} dev ${device} dst ${remote}${isPermanent ? " permanent" : " not-permanent"}${isDetour ? " (by another port, VNI or interface)" : ""}`,

  wire: {
    types: [RTM_NEWNEIGH, RTM_DELNEIGH],
    encode: (op, object, names) => {
      const { mac, remote } = object;
      const interfaceIndex = requireIndex(names, object.device, () => fdbKind.describe(object));
      if (op === "delete")
        return encodeDeleteFdb({ interfaceIndex, mac, ...(mac === ALL_ZERO_MAC ? { remote } : {}) });
      return mac === ALL_ZERO_MAC
        ? encodeAppendFdb({ interfaceIndex, mac, remote })
        : encodeNewFdb({ interfaceIndex, mac, remote }, REPLACE);
    },
    decode: (message, names) => {
      const decoded = decodeFdb(message);
      if (decoded === null || decoded.remote === null) return null;
      const { mac, remote, state, isDetour } = decoded;
      const device = names.nameOf(decoded.interfaceIndex);
      const isPermanent = (state & NUD_PERMANENT) !== 0;
      return { kind: "fdb", device, mac, remote, isPermanent, ...(isDetour ? { isDetour } : {}) };
    },
    dumps: perDevice(encodeFdbDump),
  },
};
