/** Nexthop objects (linux/nexthop.h): `ip nexthop`. A plan names them by device and gateway, the kernel by an id. */

import { CREATE, REPLACE } from "../../netlink/message.ts";
import { decodeNexthop, encodeDeleteNexthop, encodeNewNexthop, type Nexthop } from "../../netlink/nexthop.ts";
import { RTM_DELNEXTHOP, RTM_NEWNEXTHOP } from "../../netlink/rtnetlink.ts";
import { requireIndex } from "../contract/device-index.ts";
import {
  type KernelNames,
  type Kind,
  type NexthopPlace,
  objectKey,
  ROUTE_PROTOCOL,
} from "../contract/kind.ts";
import { encodeGatewayRoute } from "./gateway-route.ts";

export interface NexthopObject extends NexthopPlace {
  readonly kind: "nexthop";
  readonly protocol: number;
}

export const nexthopKind: Kind<NexthopObject> = {
  rank: 5,
  isDeletable: true,
  keyOf: ({ device, gateway }) => objectKey("nexthop", device, gateway),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.nexthopDevices.has(device),
  ownerOf: ({ device, protocol }, scope) =>
    protocol === ROUTE_PROTOCOL && scope.nexthopDevices.has(device) ? "ours" : "foreign",
  isSame: (desired, actual) => actual.isOnlink === desired.isOnlink && actual.protocol === desired.protocol,
  describe: ({ device, gateway, isOnlink, protocol }) =>
    `nexthop via ${gateway} dev ${device}${isOnlink ? " onlink" : ""} proto ${protocol}`,

  encodeScaffold: encodeGatewayRoute,

  wire: {
    types: [RTM_NEWNEXTHOP, RTM_DELNEXTHOP],
    encode: (op, object, names) => {
      const { device, gateway, isOnlink, protocol } = object;
      const outputIndex = requireIndex(names, device, () => nexthopKind.describe(object));
      const id = names.assignNexthopId(object);
      if (op === "delete") return encodeDeleteNexthop(id);
      return encodeNewNexthop(
        { id, outputIndex, gateway, isOnlink, protocol },
        op === "create" ? CREATE : REPLACE,
      );
    },
    decode: (message, names) => nexthopObject(decodeNexthop(message), names),
    // The port dumps them itself, because it needs the ids of all owners.
    dumps: () => [],
  },
};

/** Null for groups, blackholes and FDB nexthops. */
export function nexthopObject(nexthop: Nexthop, names: KernelNames): NexthopObject | null {
  const { gateway, isOnlink, protocol, sort, outputIndex } = nexthop;
  if (sort !== "single" || gateway === null) return null;
  return { kind: "nexthop", device: names.nameOf(outputIndex), gateway, isOnlink, protocol };
}
