/** STATUS: whether ADD would succeed now. It changes nothing. */

import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { findObstacle } from "../../backends/attachment/obstacle.ts";
import { parsePaths } from "../config/delegate.ts";
import { type DelegatedPlan, type OwnPlan, planAttachment } from "../config/plan.ts";
import { openAddresses } from "../host/addresses.ts";
import { readSubnetEnv } from "../host/host.ts";
import type { Call } from "../protocol/call.ts";
import { CNI_CODES, type CniCode, CniError, toCniError } from "../protocol/errors.ts";

/** Throws CniError 50 when ADD cannot be served, and 51 when running containers are cut off as well. */
export async function status(call: Call): Promise<null> {
  const plan = planAttachment(call, readSubnetEnv(call.config, CNI_CODES.notAvailable));
  if (plan.kind === "own") await requireAvailable(call, plan);
  else await forward(call, plan);
  return null;
}

async function requireAvailable(call: Call, { options, addresses }: OwnPlan): Promise<void> {
  for (const dir of [parsePaths(call.config).stateDir, addresses.dataDir]) requireWritable(dir);
  const { rangeSets } = addresses.request;
  const gateways = rangeSets.flatMap(([range]) =>
    range === undefined ? [] : [{ address: range.gateway, length: range.subnet.length }],
  );
  const obstacle = findObstacle(options.bridge, options.port.vlans, gateways);
  if (obstacle !== null) {
    throw unavailable(
      obstacle.error,
      obstacle.isolatesContainers ? CNI_CODES.notAvailableLimited : undefined,
    );
  }
  try {
    await openAddresses(addresses.dataDir, call.networkName).requireRoom(addresses.request);
  } catch (error) {
    throw unavailable(error);
  }
}

function unavailable(error: unknown, code: CniCode = CNI_CODES.notAvailable): CniError {
  const { message, explanation } = toCniError(error);
  return new CniError(code, message, explanation, { cause: error });
}

/** A folder that does not exist yet is made by ADD: its nearest ancestor must allow that. */
function requireWritable(dir: string): void {
  let nearest = dir;
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  try {
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new CniError(CNI_CODES.notAvailable, `${nearest} is not writable; attachments are kept there`, "", {
      cause,
    });
  }
}

/** Delegates that do not know the verb yet say so by code 4. */
async function forward(call: Call, { type, delegate }: DelegatedPlan): Promise<void> {
  const { invokePlugin } = await import("../host/invoke.ts");
  try {
    invokePlugin("STATUS", type, delegate, call);
  } catch (error) {
    const { cniCode } = toCniError(error);
    if (cniCode === CNI_CODES.badEnvironment) return;
    const isAvailability = cniCode === CNI_CODES.notAvailable || cniCode === CNI_CODES.notAvailableLimited;
    throw isAvailability ? error : unavailable(error);
  }
}
