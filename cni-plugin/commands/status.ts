/** STATUS: whether ADD would succeed now. It changes nothing. */

import { accessSync, constants, existsSync } from "node:fs";
import path from "node:path";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { addressesOf, countPorts, rivalsOf } from "../bridge/bridge.ts";
import { withReservations } from "../bridge/detach.ts";
import { findLink } from "../bridge/links.ts";
import { type BridgeOptions, isServedInProcess, parseBridgeOptions } from "../bridge/options.ts";
import type { Call } from "../call.ts";
import { deriveDelegate, parsePaths } from "../delegate.ts";
import { CNI_CODES, CniError, toCniError } from "../errors.ts";
import { readSubnetEnv, typeOf } from "../host.ts";
import { requireRoom } from "../ipam/allocate.ts";
import { type IpamConfig, parseIpamConfig } from "../ipam/ranges.ts";

/** Throws CniError 50 when ADD cannot be served, and 51 when running containers are cut off as well. */
export async function status(call: Call): Promise<null> {
  const delegate = deriveDelegate(call.config, readSubnetEnv(call.config, CNI_CODES.notAvailable));
  if (isServedInProcess(delegate)) requireAvailable(call, delegate);
  else await forward(call, delegate);
  return null;
}

function requireAvailable(call: Call, delegate: JsonObject): void {
  const options = parseBridgeOptions(delegate, "");
  const ipam = parseIpamConfig(delegate, "");
  for (const dir of [parsePaths(call.config).stateDir, ipam.dataDir]) requireWritable(dir);
  if (options.isGateway) requireFittingBridge(options, ipam);
  withReservations(ipam.dataDir, call.networkName, (store) => {
    try {
      requireRoom(ipam, store);
    } catch (error) {
      const { message, explanation } = toCniError(error);
      throw new CniError(CNI_CODES.notAvailable, message, explanation, { cause: error });
    }
  });
}

/** A folder that does not exist yet is made by ADD: its nearest ancestor must allow that. */
function requireWritable(dir: string): void {
  let nearest = dir;
  while (!existsSync(nearest) && path.dirname(nearest) !== nearest) nearest = path.dirname(nearest);
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new CniError(CNI_CODES.notAvailable, `${nearest} is not writable; attachments are kept there`, "", {
      cause,
    });
  }
}

/** After a change of the host's subnet, containers of the old one can no longer be reached from other hosts. */
function requireFittingBridge(options: BridgeOptions, ipam: IpamConfig): void {
  const host = NetlinkConnection.open();
  try {
    const bridge = findLink(host, options.bridge);
    if (bridge === null || countPorts(host, bridge) === 0) return;
    const present = addressesOf(host, bridge);
    for (const [range] of ipam.rangeSets) {
      const wanted = range && { address: range.gateway, length: range.subnet.length };
      const [rival] = wanted ? rivalsOf(present, wanted) : [];
      if (rival === undefined || range === undefined) continue;
      throw new CniError(
        CNI_CODES.notAvailableLimited,
        `${bridge.name} holds ${rival.address}/${rival.length} and has containers, but this host's subnet is now ${range.subnet}`,
        "containers of the old subnet are unreachable from other hosts: stop them, or start them anew",
      );
    }
  } finally {
    host.close();
  }
}

/** Delegates that do not know the verb yet say so by code 4. */
async function forward(call: Call, delegate: JsonObject): Promise<void> {
  const { invokePlugin } = await import("../invoke.ts");
  try {
    invokePlugin("STATUS", typeOf(delegate), delegate, call);
  } catch (error) {
    const { cniCode, message } = toCniError(error);
    if (cniCode === CNI_CODES.badEnvironment) return;
    const isAvailability = cniCode === CNI_CODES.notAvailable || cniCode === CNI_CODES.notAvailableLimited;
    throw isAvailability ? error : new CniError(CNI_CODES.notAvailable, message, "", { cause: error });
  }
}
