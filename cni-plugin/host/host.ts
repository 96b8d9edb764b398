/** What a verb needs from this host besides the kernel: subnet.env, namespaces, records of attachments. */

import { existsSync } from "node:fs";
import { NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { parseSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { CodecError } from "../../ipam/errors.ts";
import { readRequiredFile } from "../../ipam/files/read.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { deriveDelegate, guessDelegate, parsePaths } from "../config/delegate.ts";
import type { Call } from "../protocol/call.ts";
import { asCniError, CNI_CODES, type CniCode, CniError, toCniError } from "../protocol/errors.ts";
import { type AttachmentStates, recordsOf } from "./state.ts";

/** Reads subnet.env. Throws CniError 7 for a wrong path and `code` when the file is missing or cannot be used. */
export function readSubnetEnv(config: JsonObject, code: CniCode): SubnetEnv {
  const { subnetFile } = parsePaths(config);
  return asCniError(code, `cannot read ${subnetFile}; check that tulled runs on this host`, () =>
    requireInside(parseSubnetEnv(readRequiredFile(subnetFile))),
  );
}

/** A subnet outside the network is left over from another network, or two agents wrote one file. */
function requireInside(env: SubnetEnv): SubnetEnv {
  for (const [family, { address }] of entriesOf(env.subnets)) {
    const networks = env.networks[family] ?? [];
    if (networks.some((network) => network.contains(address))) continue;
    throw new CodecError(`the subnet of ${address} is not in the network ${networks.join(", ")}`);
  }
  return env;
}

/** The records of this call's network and runtime. Throws CniError 7. */
export function statesOf({ config, networkName, runtime = "cni" }: Call): AttachmentStates {
  return recordsOf(parsePaths(config).stateDir, networkName, runtime);
}

/** Opens the container's namespace. Throws CniError 8 when the path is missing or names no network namespace. */
export function openNetns(path: string): NetnsHandle {
  return asCniError(CNI_CODES.invalidNetns, `CNI_NETNS "${path}" is not a network namespace`, () => {
    const netns = NetnsHandle.open(path);
    try {
      withNetns(netns, () => undefined);
    } catch (error) {
      netns.close();
      throw error;
    }
    return netns;
  });
}

/** The same for verbs that go on without the namespace: null when it is gone, or only the file of its path is left. */
export function openNetnsIfPresent(path: string): NetnsHandle | null {
  if (path === "" || !existsSync(path)) return null;
  try {
    return openNetns(path);
  } catch (error) {
    if (error instanceof CniError) return null;
    throw error;
  }
}

/** The delegate's configuration without a record: from subnet.env, or from the call alone where that is missing. */
export function currentDelegate(call: Call): JsonObject {
  try {
    return deriveDelegate(call.config, readSubnetEnv(call.config, CNI_CODES.tryAgainLater));
  } catch (error) {
    call.warn(`continuing without subnet.env: ${toCniError(error).message}`);
    return guessDelegate(call.config);
  }
}
