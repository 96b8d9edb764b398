/** Permanent neighbour entries (ARP and NDP): `ip neighbour`. */

import type { Address } from "../../../ipam/addresses/ip.ts";
import type { Mac } from "../../../ipam/addresses/mac.ts";
import { REPLACE } from "../../netlink/message.ts";
import {
  decodeNeighbour,
  encodeDeleteNeighbour,
  encodeNeighbourDump,
  encodeNewNeighbour,
  NUD_PERMANENT,
} from "../../netlink/neighbour.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../netlink/rtnetlink.ts";
import { perDevice, requireIndex } from "../contract/device-index.ts";
import { type Kind, objectKey } from "../contract/kind.ts";

export interface NeighbourObject {
  readonly kind: "neighbour";
  readonly device: string;
  readonly address: Address;
  /** Null while the kernel has an unresolved entry; never in a plan. */
  readonly mac: Mac | null;
  /** True for NUD_PERMANENT; entries in any other state come and go. */
  readonly isPermanent: boolean;
}

export const neighbourKind: Kind<NeighbourObject> = {
  rank: 3,
  isDeletable: true,
  isOfPeers: true,
  keyOf: ({ device, address }) => objectKey("neighbour", device, address),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.devices.has(device),
  ownerOf: ({ device, isPermanent }, scope) =>
    scope.devices.has(device) && isPermanent ? "ours" : "foreign",
  isSame: (desired, actual) => actual.mac === desired.mac && actual.isPermanent === desired.isPermanent,
  describe: ({ device, address, mac, isPermanent }) =>
    `neigh ${address} lladdr ${mac ?? "?"} dev ${device}${isPermanent ? " permanent" : " not-permanent"}`,

  wire: {
    types: [RTM_NEWNEIGH, RTM_DELNEIGH],
    encode: (op, object, names) => {
      const interfaceIndex = requireIndex(names, object.device, () => neighbourKind.describe(object));
      const { address, mac } = object;
      if (op === "delete" || mac === null) return encodeDeleteNeighbour({ interfaceIndex, address });
      // The device is ours alone, so an entry in the way (a stale or failed one) is simply replaced.
      return encodeNewNeighbour({ interfaceIndex, address, mac }, REPLACE);
    },
    decode: (message, names) => {
      const decoded = decodeNeighbour(message);
      if (decoded === null) return null;
      const { address, mac, state } = decoded;
      const device = names.nameOf(decoded.interfaceIndex);
      return { kind: "neighbour", device, address, mac, isPermanent: (state & NUD_PERMANENT) !== 0 };
    },
    dumps: perDevice(encodeNeighbourDump),
  },
};
