/** CHECK: everything that ADD made is still there and as it was. It changes nothing. */

import type { JsonObject } from "../../ipam/json.ts";
import { isServedInProcess, parseBridgeOptions } from "../bridge/options.ts";
import { findDifferences, findRuleDifferences } from "../bridge/verify.ts";
import type { Call } from "../call.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import { currentDelegate, openNetns, statesOf, typeOf } from "../host.ts";
import { parseResult } from "../result.ts";

/** Throws CniError 102 that lists every difference, and 7 for a prevResult that is missing or another container's. */
export async function check(call: Call): Promise<null> {
  const { prevResult } = call.config;
  if (prevResult === undefined || prevResult === null) {
    throw new CniError(CNI_CODES.invalidConfig, "CHECK needs prevResult and the configuration has none");
  }
  const expected = parseResult(prevResult, call.version);
  const delegate = statesOf(call).read(call) ?? currentDelegate(call);
  if (!isServedInProcess(delegate)) return forward(call, delegate);
  const options = parseBridgeOptions(delegate, call.args);
  const netns = openNetns(call.netnsPath);
  try {
    const inspection = { call, delegate, options, expected, netns };
    const differences = [...findDifferences(inspection), ...(await findRuleDifferences(inspection))];
    if (differences.length === 0) return null;
    throw new CniError(
      CNI_CODES.checkFailed,
      `${call.interfaceName} of ${call.containerId} is not as it was made: ${differences.join("; ")}`,
      "start the container anew",
    );
  } finally {
    netns.close();
  }
}

async function forward(call: Call, delegate: JsonObject): Promise<null> {
  const { invokePlugin } = await import("../invoke.ts");
  invokePlugin("CHECK", typeOf(delegate), { ...delegate, prevResult: call.config.prevResult ?? null }, call);
  return null;
}
