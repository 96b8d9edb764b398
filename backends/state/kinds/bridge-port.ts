/** Devices that are ports of a bridge: `ip link set DEVICE master BRIDGE`, `bridge link set dev DEVICE …`. */

import type { BridgePortSpec } from "../../netlink/link/bridge.ts";
import type { Link } from "../../netlink/link/link.ts";
import { type KernelNames, type Kind, objectKey } from "../contract/kind.ts";

/** Every setting of a port that a plan can want. */
export type PortSettings = Required<BridgePortSpec>;

export interface BridgePortObject {
  readonly kind: "bridge-port";
  readonly device: string;
  readonly bridge: string;
  readonly settings: PortSettings;
  /** In a plan: others make and delete the device; while it is absent there is nothing to do. */
  readonly isOptional?: true;
}

/** The kernel's defaults for a new port (net/bridge/br_if.c, new_nbp). */
export const DEFAULT_PORT: PortSettings = {
  hairpin: false,
  isolated: false,
  learning: true,
  unicastFlood: true,
  multicastFlood: true,
  broadcastFlood: true,
  neighbourSuppression: false,
};

/** As bridge(8) calls them. */
const WORDS: Readonly<Record<keyof PortSettings, string>> = {
  hairpin: "hairpin",
  isolated: "isolated",
  learning: "learning",
  unicastFlood: "flood",
  multicastFlood: "mcast_flood",
  broadcastFlood: "bcast_flood",
  neighbourSuppression: "neigh_suppress",
};

const NAMES = Object.keys(WORDS) as readonly (keyof PortSettings)[];

export const bridgePortKind: Kind<BridgePortObject> = {
  rank: 1,
  // Two requests each: kernel/device-changes.ts applies them, the port reads them.
  wire: null,
  isDeletable: true,
  keyOf: ({ device }) => objectKey("bridge-port", device),
  // A foreign bridge under the name of ours gets no ports.
  deviceOf: ({ bridge }) => bridge,
  isVisible: ({ device, bridge }, scope) => scope.devices.has(device) || scope.devices.has(bridge),
  // Other ports of our bridge are containers': they are put back where a plan wants them, and never taken out.
  ownerOf: ({ device }, scope) => (scope.devices.has(device) ? "ours" : "foreign"),
  isSame: (desired, actual) =>
    actual.bridge === desired.bridge &&
    NAMES.every((name) => actual.settings[name] === desired.settings[name]),
  describe: ({ device, bridge, settings }) =>
    `bridge link ${device} master ${bridge} ${NAMES.map((name) => `${WORDS[name]} ${settings[name] ? "on" : "off"}`).join(" ")}`,
};

/** The membership of a device; null for one that belongs to no bridge, and for members of bonds and VRFs. */
export function bridgePortObject(
  { name, masterIndex, bridgePort }: Pick<Link, "name" | "masterIndex" | "bridgePort">,
  names: KernelNames,
): BridgePortObject | null {
  if (masterIndex === null || masterIndex === 0 || bridgePort === undefined) return null;
  const { state: _, ...settings } = bridgePort;
  return { kind: "bridge-port", device: name, bridge: names.nameOf(masterIndex), settings };
}
