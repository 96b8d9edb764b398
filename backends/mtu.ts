/** The MTU of tunnels: what their headers leave of the MTU around them. Pure. */

import type { Family } from "../ipam/addresses/ip.ts";
import { ConfigError } from "../ipam/errors.ts";

/** Below it the kernel runs no IPv6 on a device, and its settings do not exist (net/ipv6/addrconf.c). */
export const IPV6_MIN_MTU_BYTES = 1280;

/** The smallest MTU of a link: RFC 791, RFC 8200 §5. */
const MIN_MTU_BYTES: Readonly<Record<Family, number>> = { 4: 68, 6: IPV6_MIN_MTU_BYTES };

export interface TunnelSize {
  /** Where the outer MTU comes from, for the error: `the MTU of eth0`. */
  readonly origin: string;
  readonly outerMtuBytes: number;
  /** The protocols of the headers, for the error: `VXLAN`. */
  readonly headers: string;
  readonly headerBytes: number;
}

/** What is left for packets of all `families`. Throws ConfigError where that is too little for a link. */
export function innerMtu(
  { origin, outerMtuBytes, headers, headerBytes }: TunnelSize,
  families: readonly Family[],
): number {
  const floorBytes = Math.max(...families.map((family) => MIN_MTU_BYTES[family]));
  if (outerMtuBytes - headerBytes >= floorBytes) return outerMtuBytes - headerBytes;
  throw new ConfigError(
    `${origin} is ${outerMtuBytes}: after ${headerBytes} bytes of ${headers} headers too little is left; set it to at least ${floorBytes + headerBytes}`,
  );
}
