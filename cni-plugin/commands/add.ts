/** ADD: one container gets its interface, or nothing at all. */

import { readFileSync } from "node:fs";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { attach } from "../bridge/attach.ts";
import { dataDirOf, withReservations } from "../bridge/detach.ts";
import { isServedInProcess } from "../bridge/options.ts";
import type { Call } from "../call.ts";
import { deriveDelegate } from "../delegate.ts";
import { CNI_CODES, toCniError } from "../errors.ts";
import { ipamTypeOf, openNetns, readSubnetEnv, statesOf, typeOf } from "../host.ts";
import { BOOT_ID_FILE, reclaimEarlierBoots } from "../ipam/boot.ts";
import type { CniResult } from "../result.ts";
import type { AttachmentStates } from "../state.ts";
import { Undo } from "../undo.ts";

/** Throws CniError 11 while subnet.env is missing, and others as the specification numbers them. */
export async function add(call: Call): Promise<CniResult> {
  const env = readSubnetEnv(call.config, CNI_CODES.tryAgainLater);
  const delegate = deriveDelegate(call.config, env);
  const undo = new Undo();
  try {
    return isServedInProcess(delegate)
      ? await addInProcess(call, delegate, env, undo)
      : await addByDelegate(call, delegate, undo);
  } catch (error) {
    for (const failure of undo.run()) call.warn(`could not take back: ${toCniError(failure).message}`);
    throw error;
  }
}

async function addInProcess(
  call: Call,
  delegate: JsonObject,
  env: SubnetEnv,
  undo: Undo,
): Promise<CniResult> {
  const netns = openNetns(call.netnsPath);
  try {
    const networks = [...entriesOf(env.networks)].flatMap(([, prefixes]) => prefixes);
    return await attach(
      { call, delegate, networks, states: statesOf(call), netns, bootId: readBootId() },
      undo,
    );
  } finally {
    netns.close();
  }
}

/** What another plugin made half of, it is asked to remove again (SPEC.md 1.1.0, section 4). */
async function addByDelegate(call: Call, delegate: JsonObject, undo: Undo): Promise<CniResult> {
  const { invokePlugin } = await import("../invoke.ts");
  const { parseResult } = await import("../result.ts");
  const states = statesOf(call);
  if (ipamTypeOf(delegate) === "host-local") reclaim(call, delegate, states);
  undo.push(() => states.remove(call));
  states.write(call, delegate);
  undo.push(() => invokePlugin("DEL", typeOf(delegate), delegate, call));
  return parseResult(invokePlugin("ADD", typeOf(delegate), delegate, call), call.version);
}

/** host-local itself keeps the addresses of containers that died with an earlier boot for ever. */
function reclaim(call: Call, delegate: JsonObject, states: AttachmentStates): void {
  const gone = withReservations(dataDirOf(delegate), call.networkName, (store) =>
    reclaimEarlierBoots(store, readBootId(), () => false),
  );
  for (const attachment of gone ?? []) states.remove(attachment);
}

function readBootId(): string {
  return readFileSync(BOOT_ID_FILE, "utf8").trim();
}
