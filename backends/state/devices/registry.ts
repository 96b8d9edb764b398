/** The types of device that a plan can want. A new one is a file and a line here. */

import type { DeviceType } from "../contract/device-type.ts";
import { type TunDetails, tunDevice } from "./tun.ts";
import { type VxlanDetails, vxlanDevice } from "./vxlan.ts";

/** The attributes that only one type of device has. */
export type DeviceDetails = VxlanDetails | TunDetails;

const TYPES: readonly DeviceType<DeviceDetails>[] = [vxlanDevice, tunDevice];

const BY_NAME: ReadonlyMap<string, DeviceType<DeviceDetails>> = new Map(TYPES.map((one) => [one.type, one]));

/** Null for devices of other types, of which only the common attributes are known. */
export function deviceTypeOf(type: string): DeviceType<DeviceDetails> | null {
  return BY_NAME.get(type) ?? null;
}
