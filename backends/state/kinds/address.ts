/** Addresses of devices: `ip address`. */

import type { InterfaceAddress } from "../../../ipam/addresses/ip.ts";
import {
  decodeAddress,
  encodeAddressDump,
  encodeDeleteAddress,
  encodeNewAddress,
  IFA_F_NODAD,
} from "../../netlink/address.ts";
import { RTM_DELADDR, RTM_NEWADDR } from "../../netlink/rtnetlink.ts";
import { perDevice, requireIndex } from "../contract/device-index.ts";
import { inNetworks, type Kind, objectKey } from "../contract/kind.ts";

export interface AddressObject {
  readonly kind: "address";
  readonly device: string;
  readonly address: InterfaceAddress;
}

export const addressKind: Kind<AddressObject> = {
  rank: 2,
  isDeletable: true,
  keyOf: ({ device, address: { address, length } }) => objectKey("address", device, `${address}/${length}`),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.devices.has(device),
  // As flanneld: an address outside the network's ranges is the administrator's, or the kernel's link-local one.
  ownerOf: ({ device, address: { address } }, scope) =>
    scope.devices.has(device) && inNetworks(scope, address) ? "ours" : "foreign",
  isSame: () => true, // the key says it all
  describe: ({ device, address: { address, length } }) => `address ${address}/${length} dev ${device}`,

  wire: {
    types: [RTM_NEWADDR, RTM_DELADDR],
    encode: (op, object, names) => {
      const spec = {
        interfaceIndex: requireIndex(names, object.device, () => addressKind.describe(object)),
        ...object.address,
        // Leases are unique, and a tunnel carries no multicast to detect duplicates with (RFC 4862, 5.4).
        ...(object.address.address.family === 6 ? { flags: IFA_F_NODAD } : {}),
      };
      return op === "delete" ? encodeDeleteAddress(spec) : encodeNewAddress(spec);
    },
    decode: (message, names) => {
      const decoded = decodeAddress(message);
      if (decoded === null) return null;
      const { interfaceIndex, address, length } = decoded;
      return { kind: "address", device: names.nameOf(interfaceIndex), address: { address, length } };
    },
    dumps: perDevice(encodeAddressDump),
  },
};
