/**
 * What the plugin `tuning` changed after us. Later links of a chain may change an interface, and CHECK must not take
 * that for damage: prevResult names a new hardware address, but no other change.
 */

import { readForeignFile } from "../../ipam/files/read.ts";
import type { Call } from "../protocol/call.ts";

/** Where tuning notes what it replaced, unless its own configuration says otherwise. */
const TUNING_DIR = "/run/cni/tuning";

/** True when tuning notes that it replaced this attribute of the container's interface. */
export function isTuned({ containerId, interfaceName }: Call, attribute: "mtu"): boolean {
  const note = readForeignFile(`${TUNING_DIR}/${containerId}_${interfaceName}.json`);
  return note?.includes(`"${attribute}"`) === true;
}
