/** Key and port of a WireGuard device: `wg set DEVICE private-key … listen-port …`. */

import type { WireguardDevice } from "../../netlink/wireguard.ts";
import { type Kind, objectKey } from "../contract/kind.ts";

export interface WireguardDeviceObject {
  readonly kind: "wg-device";
  readonly device: string;
  /** Base64; null, never in a plan, before the device has a private key. */
  readonly publicKey: string | null;
  /** Base64, in a plan only. Never shown. */
  readonly privateKey?: string;
  /** UDP port. */
  readonly listenPort: number;
}

export const wireguardDeviceKind: Kind<WireguardDeviceObject> = {
  // Right after the device, so that no address or route leads into a tunnel that has no key.
  rank: 1,
  wire: null,
  // It goes only with its device.
  isDeletable: false,
  keyOf: ({ device }) => objectKey("wg-device", device),
  deviceOf: ({ device }) => device,
  isVisible: ({ device }, scope) => scope.devices.has(device),
  ownerOf: ({ device }, scope) => (scope.devices.has(device) ? "ours" : "foreign"),
  isSame: (desired, actual) =>
    actual.publicKey === desired.publicKey && actual.listenPort === desired.listenPort,
  describe: ({ device, publicKey, listenPort }) =>
    `wireguard ${device} public-key ${publicKey ?? "none"} listen-port ${listenPort}`,
};

export function wireguardDeviceObject(device: string, shown: WireguardDevice): WireguardDeviceObject {
  return { kind: "wg-device", device, publicKey: shown.publicKey, listenPort: shown.listenPort };
}
