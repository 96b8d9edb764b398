/** GC: frees every attachment of the network that the runtime does not list. One failure stops no other. */

import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { dataDirOf, withReservations } from "../bridge/detach.ts";
import { isServedInProcess } from "../bridge/options.ts";
import type { Call } from "../call.ts";
import { CNI_CODES, CniError, toCniError } from "../errors.ts";
import { currentDelegate, statesOf, typeOf } from "../host.ts";
import { type Attachment, isHeldBy } from "../ipam/reservations.ts";
import { removeAttachment } from "../remove.ts";

const LIST_KEY = "cni.dev/valid-attachments";

/** Throws one CniError that names everything that could not be freed. */
export async function collectGarbage(call: Call): Promise<null> {
  const valid = validAttachments(call.config);
  if (valid === null) {
    call.warn(`${LIST_KEY} is missing: who lives cannot be told, so nobody is removed`);
    return null;
  }
  const current = currentDelegate(call);
  const states = statesOf(call);
  const known = withoutDuplicates([...states.list(), ...reservedBy(call, current)]);
  const stale = known.filter((attachment) => !valid.some((entry) => isHeldBy(attachment, entry)));
  const failures: CniError[] = [];
  for (const attachment of stale) {
    const recorded = states.read(attachment);
    try {
      await removeAttachment(call, attachment, recorded ?? current, recorded !== null, null);
      states.remove(attachment);
    } catch (error) {
      failures.push(toCniError(error));
    }
  }
  if (!isServedInProcess(current)) failures.push(...(await forward(call, current)));
  requireNone(failures, stale.length);
  return null;
}

/**
 * Those that live; null when the runtime gives no list, as cnitool does after it has removed what it knows of: that
 * cannot mean that all containers are gone. A list that is null is an empty one, for so Go writes those.
 */
function validAttachments(config: JsonObject): readonly Attachment[] | null {
  if (!Object.hasOwn(config, LIST_KEY)) return null;
  const list = config[LIST_KEY] ?? [];
  if (!Array.isArray(list)) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `${LIST_KEY}: ${JSON.stringify(list)} is no list; give one of {"containerID": …, "ifname": …}`,
    );
  }
  return list.map((entry) => {
    if (!isJsonObject(entry) || typeof entry.containerID !== "string" || typeof entry.ifname !== "string") {
      throw new CniError(
        CNI_CODES.invalidConfig,
        `${LIST_KEY}: ${JSON.stringify(entry)} is wrong; give {"containerID": …, "ifname": …}`,
      );
    }
    return { containerId: entry.containerID, interfaceName: entry.ifname };
  });
}

function reservedBy({ networkName }: Call, delegate: JsonObject): readonly Attachment[] {
  const reserved = withReservations(dataDirOf(delegate), networkName, (store) => {
    store.discardUnfinished();
    return store.list();
  });
  return reserved ?? [];
}

function withoutDuplicates(attachments: readonly Attachment[]): readonly Attachment[] {
  const unique = new Map(
    attachments.map(({ containerId, interfaceName }) => [
      `${containerId}:${interfaceName}`,
      { containerId, interfaceName },
    ]),
  );
  return [...unique.values()];
}

/** Delegates that do not know the verb yet say so by code 4. */
async function forward(call: Call, delegate: JsonObject): Promise<readonly CniError[]> {
  const { invokePlugin } = await import("../invoke.ts");
  try {
    invokePlugin("GC", typeOf(delegate), { ...delegate, [LIST_KEY]: call.config[LIST_KEY] ?? [] }, call);
    return [];
  } catch (error) {
    const failure = toCniError(error);
    return failure.cniCode === CNI_CODES.badEnvironment ? [] : [failure];
  }
}

function requireNone(failures: readonly CniError[], count: number): void {
  const [first] = failures;
  if (first === undefined) return;
  throw new CniError(
    first.cniCode,
    `${failures.length} of ${count} stale attachments could not be freed: ${first.message}`,
    failures.map(({ message }) => message).join("; "),
  );
}
