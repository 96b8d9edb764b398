/** The types of device that a plan can want. A new one is a file and a line here. */

import type { DeviceType } from "../contract/device-type.ts";
import { type BridgeDetails, bridgeDevice } from "./bridge.ts";
import { type IpipDetails, ipipDevice } from "./ipip.ts";
import { type TunDetails, tunDevice } from "./tun.ts";
import { type VxlanDetails, vxlanDevice } from "./vxlan.ts";
import { type WireguardDetails, wireguardDevice } from "./wireguard.ts";

/** The attributes that only one type of device has. */
export type DeviceDetails = VxlanDetails | IpipDetails | WireguardDetails | TunDetails | BridgeDetails;

/** TypeScript cannot follow that details fit the functions of their own type. */
const TYPES = [
  vxlanDevice,
  ipipDevice,
  wireguardDevice,
  tunDevice,
  bridgeDevice,
] as readonly unknown[] as readonly DeviceType<DeviceDetails>[];

const BY_NAME: ReadonlyMap<string, DeviceType<DeviceDetails>> = new Map(TYPES.map((one) => [one.type, one]));

/** Null for devices of other types, of which only the common attributes are known. */
export function deviceTypeOf(type: string): DeviceType<DeviceDetails> | null {
  return BY_NAME.get(type) ?? null;
}
