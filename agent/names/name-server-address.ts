/** Where containers reach the name server. Constants only. */

import type { Scope } from "../../backends/state/contract/kind.ts";
import type { AddressObject } from "../../backends/state/kinds/address.ts";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";

/**
 * Link-local (RFC 3927), so that no network can have it, and the same on all hosts, so that daemon.json is. Docker's
 * embedded DNS asks it from the container's network namespace, where a loopback address would be the container's own.
 */
export const NAME_SERVER = Address.parse("169.254.53.53");

export const DNS_PORT = 53;

/** On the loopback interface, which is always there: kernels without the driver of dummy devices exist. */
export const NAME_SERVER_OBJECT: AddressObject = {
  kind: "address",
  device: "lo",
  address: { address: NAME_SERVER, length: 32 },
};

/** That address, and nothing else on the interface. */
export const NAME_SERVER_SCOPE: Scope = {
  devices: new Set([NAME_SERVER_OBJECT.device]),
  sharedDevices: new Set(),
  nexthopDevices: new Set(),
  networks: [Prefix.of(NAME_SERVER, 32)],
  sysctls: new Set(),
};
