/** What tulle-netavark asks tulled, checked and typed. No I/O. */

import { Address, compactPerFamily, type PerFamily } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { Fields } from "../docker-driver/fields.ts";

/** One interface of one container; both parts together are unique on a host. */
export interface EndpointName {
  readonly container: string;
  readonly interfaceName: string;
}

export interface SetupCall extends EndpointName {
  /** The name of a named network, or its id. */
  readonly network: string;
  readonly containerName: string;
  readonly aliases: readonly string[];
  /** Requested addresses. */
  readonly wanted: PerFamily<Address>;
  readonly mac: Mac | null;
  /** The address that the container will have on the bridge to the outside; null without one. */
  readonly outside: Address | null;
}

/** Throws CodecError, ConfigError, AddressError. */
export function parseSetup(request: Fields): SetupCall {
  const wanted = request.textList("Addresses").map(Address.parse);
  return {
    ...parseEndpointName(request),
    network: request.text("Network"),
    containerName: request.text("ContainerName"),
    aliases: request.textList("Aliases"),
    wanted: compactPerFamily((family) => wanted.find((address) => address.family === family)),
    mac: request.mac("Mac"),
    outside: request.address("Outside"),
  };
}

/** Throws CodecError. */
export function parseEndpointName(request: Fields): EndpointName {
  const interfaceName = request.text("Interface");
  if (interfaceName === "") throw request.wrong("Interface", interfaceName, "the name of an interface");
  return { container: request.id("Container"), interfaceName };
}
