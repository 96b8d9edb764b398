/** Where containers reach the name server. Constants only. */

import { Address } from "../../ipam/addresses/ip.ts";

/**
 * Link-local (RFC 3927), so that no network can have it, and the same on all hosts, so that daemon.json is. Docker's
 * embedded DNS asks it from the container's network namespace, where a loopback address would be the container's own.
 */
export const NAME_SERVER = Address.parse("169.254.53.53");

export const DNS_PORT = 53;

/** Every host has it, and it is always up; kernels without the driver of dummy devices exist. */
export const NAME_SERVER_DEVICE = "lo";
