/** Which driver serves a network. */

import type { JsonObject } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";
import type { NetworkDriver } from "./driver.ts";
import { flatSubnet } from "./flat-subnet.ts";
import type { PodmanNetwork } from "./request.ts";

/** `-o network=NAME` names a network of the cluster; without it containers join this host's subnet. */
const NAMED = "network";

/** Throws CniError 7 for a network that no driver serves. */
export function driverOf({ options }: PodmanNetwork): NetworkDriver {
  const name = options[NAMED];
  if (name === undefined) return flatSubnet;
  throw new CniError(
    CNI_CODES.invalidConfig,
    `options.${NAMED}: ${JSON.stringify(name)}: this version attaches containers to the host's subnet only; leave -o ${NAMED} out`,
  );
}

/** The `create` verb. Throws CniError. */
export function createNetwork(network: PodmanNetwork): JsonObject {
  return driverOf(network).create(network);
}
