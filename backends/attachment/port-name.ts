/** Names of the host's ends of pairs. No I/O. */

import type { Attachment } from "../../ipam/containers/attachment.ts";
import { shortDigest } from "./digest.ts";

/** The same for every call about an attachment, so that the device is found without a record. */
export function portName(network: string, { containerId, interfaceName }: Attachment): string {
  return `veth${shortDigest(`${network}\n${containerId}\n${interfaceName}`).slice(0, 11)}`;
}

/** What begins the names of the ports of named networks. */
export const SEGMENT_PORT_PREFIX = "tp-";

/** True for a name that portName() gives, or a named network. The plugin bridge has names of eight digits. */
export function isPortName(name: string): boolean {
  return /^veth[0-9a-f]{11}$/.test(name) || name.startsWith(SEGMENT_PORT_PREFIX);
}
