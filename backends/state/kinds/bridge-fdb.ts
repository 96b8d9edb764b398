/** Static forwarding entries of bridges: `bridge fdb … master static sticky`. */

import type { Mac } from "../../../ipam/addresses/mac.ts";
import { REPLACE } from "../../netlink/message.ts";
import {
  decodeFdb,
  encodeDeleteBridgeFdb,
  encodeNewBridgeFdb,
  NUD_NOARP,
  NUD_PERMANENT,
} from "../../netlink/neighbour.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../netlink/rtnetlink.ts";
import { requireIndex } from "../contract/device-index.ts";
import { type Kind, objectKey } from "../contract/kind.ts";

/** Frames for `mac` that enter the bridge leave by its port `device`. */
export interface BridgeFdbObject {
  readonly kind: "bridge-fdb";
  readonly bridge: string;
  readonly mac: Mac;
  readonly device: string;
  /** `dynamic`: learned from a frame. `local`: an address of the port itself, which the kernel adds. */
  readonly origin: "static" | "dynamic" | "local";
}

export const bridgeFdbKind: Kind<BridgeFdbObject> = {
  rank: 4,
  isDeletable: true,
  isOfPeers: true,
  // A bridge has one entry per address: a port that takes the address takes the entry.
  keyOf: ({ bridge, mac }) => objectKey("bridge-fdb", bridge, mac),
  deviceOf: ({ device }) => device,
  isVisible: ({ bridge }, scope) => scope.devices.has(bridge),
  ownerOf: ({ bridge, device, origin }, scope) =>
    origin === "static" && scope.devices.has(bridge) && scope.devices.has(device) ? "ours" : "foreign",
  isSame: (desired, actual) => actual.device === desired.device && actual.origin === desired.origin,
  describe: ({ bridge, mac, device, origin }) => `fdb ${mac} dev ${device} master ${bridge} ${origin}`,

  wire: {
    types: [RTM_NEWNEIGH, RTM_DELNEIGH],
    encode: (op, object, names) => {
      const { mac } = object;
      const interfaceIndex = requireIndex(names, object.device, () => bridgeFdbKind.describe(object));
      return op === "delete"
        ? encodeDeleteBridgeFdb({ interfaceIndex, mac })
        : encodeNewBridgeFdb({ interfaceIndex, mac }, REPLACE);
    },
    decode: (message, names) => {
      const decoded = decodeFdb(message);
      if (decoded === null || decoded.remote !== null || decoded.masterIndex === null) return null;
      // Of a VLAN: on our bridges, which have none, without effect.
      if (decoded.vlanId !== null) return null;
      const { mac, state } = decoded;
      const device = names.nameOf(decoded.interfaceIndex);
      return {
        kind: "bridge-fdb",
        bridge: names.nameOf(decoded.masterIndex),
        mac,
        device,
        origin: originOf(state),
      };
    },
    // The dump of the port's own entries (kinds/fdb.ts) contains those that the bridge has for it.
    dumps: () => [],
  },
};

/** net/bridge/br_fdb.c, fdb_to_nud */
function originOf(state: number): BridgeFdbObject["origin"] {
  if ((state & NUD_PERMANENT) !== 0) return "local";
  return (state & NUD_NOARP) !== 0 ? "static" : "dynamic";
}
