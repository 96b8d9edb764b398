/** Asks other hosts for containers that answer, through the store, for as long as a measurement takes. */

import { randomBytes } from "node:crypto";
import type { Address, PerFamily } from "../../ipam/addresses/ip.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { partOf } from "../../ipam/part-signal.ts";
import type { RecordMessage, Records, StoreEntry } from "../../ipam/stores/contracts.ts";
import {
  answersFolder,
  decodeAnswer,
  encodeRequest,
  RECORD_SECONDS,
  readOrNull,
  requestName,
} from "./records.ts";

/** For all that are asked. A container takes some 300 ms. */
const ANSWER_WITHIN_MS = 5_000;
const RENEW_MS = (RECORD_SECONDS * 1_000) / 3;

/** Containers of other hosts by their leases. */
export type ProbeContainers = ReadonlyMap<LeaseKey, PerFamily<Address>>;

export interface RequestOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly peers: readonly LeaseKey[];
  readonly signal: AbortSignal;
}

/**
 * Runs `measure` with the containers of all that have answered in time; they exist until it has ended. Throws StoreError
 * and what `measure` throws.
 */
export async function withContainers<T>(
  { records, clock, peers, signal }: RequestOptions,
  measure: (containers: ProbeContainers) => Promise<T>,
): Promise<T> {
  if (peers.length === 0) return await measure(new Map());
  const id = randomBytes(8).toString("hex");
  const request = await records.write(requestName(id), encodeRequest(peers), null, signal, RECORD_SECONDS);
  const part = partOf(signal);
  try {
    const measured = collect(records, id, peers, signal)
      .then(measure)
      .finally(() => part.end());
    const [result] = await Promise.all([measured, keepAlive(records, request, clock, part.signal)]);
    return result;
  } finally {
    part.end();
    // It expires in any case: what was measured counts.
    await records.remove(request, AbortSignal.timeout(ANSWER_WITHIN_MS)).catch(() => undefined);
  }
}

async function keepAlive(
  records: Records,
  request: StoreEntry,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await pause(clock, RENEW_MS, signal);
    if (signal.aborted) return;
    await records.keepAlive(request, signal);
  }
}

/** The answers that come in time. */
async function collect(
  records: Records,
  id: string,
  peers: readonly LeaseKey[],
  signal: AbortSignal,
): Promise<ProbeContainers> {
  const found = new Map<LeaseKey, PerFamily<Address>>();
  const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
  for await (const message of records.watch(answersFolder(id), late)) {
    for (const value of valuesIn(message)) {
      const answer = readOrNull(value, decodeAnswer);
      if (answer !== null && peers.includes(answer.peer)) found.set(answer.peer, answer.addresses);
    }
    if (found.size === peers.length) break;
  }
  signal.throwIfAborted();
  return found;
}

function valuesIn(message: RecordMessage): readonly string[] {
  if (message.type === "list") return message.entries.map(({ value }) => value);
  return message.changes.flatMap((change) => (change.type === "put" ? [change.entry.value] : []));
}
