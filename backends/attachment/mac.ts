/** Hardware addresses for new devices. One that is given at creation is final: neither ports nor udev change it. */

import { readFileSync } from "node:fs";
import { localMacFromSeed, type Mac } from "../../ipam/addresses/mac.ts";

/**
 * Two random addresses from one read of the kernel's random UUIDs (random(4)): loading Node's library for them would
 * take milliseconds. The middle of such a UUID has fixed digits (RFC 9562), both ends have none.
 */
export function randomMacs(): readonly [Mac, Mac] {
  const uuid = readFileSync("/proc/sys/kernel/random/uuid", "utf8").replaceAll("-", "");
  const bytes = Buffer.from(uuid, "hex");
  return [localMacFromSeed(bytes.subarray(0, 6)), localMacFromSeed(bytes.subarray(10, 16))];
}
