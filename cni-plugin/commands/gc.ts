/**
 * GC: frees every attachment of the network that the runtime does not list, except those that podman made by netavark.
 * One failure stops no other.
 */

import type { Reservation } from "../../ipam/containers/addresses.ts";
import { type Attachment, isHeldBy } from "../../ipam/containers/attachment.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { planRemoval } from "../config/plan.ts";
import { openAddresses } from "../host/addresses.ts";
import { currentDelegate, statesOf } from "../host/host.ts";
import type { Call } from "../protocol/call.ts";
import { CNI_CODES, CniError, toCniError } from "../protocol/errors.ts";
import { type ListReservations, removeAttachment } from "./remove.ts";

const LIST_KEY = "cni.dev/valid-attachments";
/** The name in SPEC.md 1.1.0 as it was published; libcni writes both (containernetworking/cni pull request 1103). */
const PUBLISHED_LIST_KEY = "cni.dev/attachments";

/** Throws one CniError that names everything that could not be freed. */
export async function collectGarbage(call: Call): Promise<null> {
  const valid = validAttachments(call.config);
  if (valid === null) {
    call.warn(`${LIST_KEY} is missing: without that list no attachment is presumed stale`);
    return null;
  }
  const current = currentDelegate(call);
  const { isOwn, type, dataDir } = planRemoval(current);
  const states = statesOf(call);
  const list = listingOnce(call.networkName);
  const known = withoutDuplicates([...states.list(), ...(await list(dataDir))]);
  const kept = [...valid, ...statesOf({ ...call, runtime: "netavark" }).list()];
  const stale = known.filter((attachment) => !kept.some((entry) => isHeldBy(attachment, entry)));
  const failures: CniError[] = [];
  for (const attachment of stale) {
    try {
      const recorded = states.read(attachment);
      const isRecorded = recorded !== null;
      await removeAttachment(
        call,
        { attachment, delegate: recorded ?? current, isRecorded, netns: null },
        list,
      );
      states.remove(attachment);
    } catch (error) {
      failures.push(toCniError(error));
    }
  }
  // Also without a stale attachment: what killed calls left in the folder goes.
  await openAddresses(dataDir, call.networkName).release([]);
  requireNone(failures, stale.length, isOwn ? null : await forward(call, type, current));
  return null;
}

/** Reads each folder of reservations once. */
function listingOnce(network: string): ListReservations {
  const listed = new Map<string, Promise<readonly Reservation[]>>();
  return (dataDir) => {
    const listing = listed.get(dataDir) ?? openAddresses(dataDir, network).list();
    listed.set(dataDir, listing);
    return listing;
  };
}

/**
 * The attachments in use; null when the runtime gives no list, as cnitool does after it has removed those it knows:
 * that cannot mean that all containers are gone. A list that is null is an empty one, because Go writes those so.
 */
function validAttachments(config: JsonObject): readonly Attachment[] | null {
  const key = listKeyOf(config);
  if (key === undefined) return null;
  const list = config[key] ?? [];
  if (!Array.isArray(list)) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `${key}: ${JSON.stringify(list)} is not a list; give one of {"containerID": …, "ifname": …}`,
    );
  }
  return list.map((entry) => {
    if (!isJsonObject(entry) || typeof entry.containerID !== "string" || typeof entry.ifname !== "string") {
      throw new CniError(
        CNI_CODES.invalidConfig,
        `${key}: ${JSON.stringify(entry)} is wrong; give {"containerID": …, "ifname": …}`,
      );
    }
    return { containerId: entry.containerID, interfaceName: entry.ifname };
  });
}

function listKeyOf(config: JsonObject): string | undefined {
  return [LIST_KEY, PUBLISHED_LIST_KEY].find((key) => Object.hasOwn(config, key));
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

/** How a delegate failed; null when it did not. Those that do not know the verb yet say so by code 4. */
async function forward(call: Call, type: string, delegate: JsonObject): Promise<CniError | null> {
  const { invokePlugin } = await import("../host/invoke.ts");
  try {
    const list = call.config[listKeyOf(call.config) ?? LIST_KEY] ?? [];
    invokePlugin("GC", type, { ...delegate, [LIST_KEY]: list, [PUBLISHED_LIST_KEY]: list }, call);
    return null;
  } catch (error) {
    const failure = toCniError(error);
    return failure.cniCode === CNI_CODES.badEnvironment ? null : failure;
  }
}

function requireNone(failures: readonly CniError[], count: number, ofDelegate: CniError | null): void {
  const [first] = failures;
  if (first === undefined && ofDelegate === null) return;
  if (first === undefined) throw ofDelegate;
  const all = ofDelegate === null ? failures : [...failures, ofDelegate];
  throw new CniError(
    first.cniCode,
    `${failures.length} of ${count} stale attachments could not be freed: ${first.message}`,
    all.map(({ message }) => message).join("; "),
  );
}
