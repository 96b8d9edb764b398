/** Which driver serves a network. */

import type { JsonObject } from "../../ipam/json.ts";
import type { NetworkDriver } from "./driver.ts";
import { flatSubnet } from "./flat-subnet.ts";
import { namedNetwork } from "./named-network.ts";
import type { PodmanNetwork } from "./request.ts";
import { NAMED } from "./usage.ts";

export function driverOf({ options }: PodmanNetwork): NetworkDriver {
  return options[NAMED] === undefined ? flatSubnet : namedNetwork;
}

/** The `create` verb. Throws CniError. */
export async function createNetwork(network: PodmanNetwork): Promise<JsonObject> {
  return await driverOf(network).create(network);
}
