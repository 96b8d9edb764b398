/**
 * Requests for Consul's keys under one network's prefix: listings, blocking reads, and writes that compare first.
 *
 * A transaction carries the comparison and the write together, because Consul rejects a PUT that compares and locks.
 * Of sessions only the id is used.
 */

import { StoreError } from "../../errors.ts";
import type { StoreEntry } from "../contracts.ts";
import { type Expected, isFolder } from "../key-value.ts";
import type { Layout } from "../layout.ts";
import type { ConsulCall, ConsulClient, ConsulReply } from "./client.ts";
import { type ConsulOperation, noConsul, permissionDenied } from "./errors.ts";

/** How a read waits, at any server; absent: the leader answers at once. */
export interface Blocking {
  /** Answer when the index is higher than this, from the server's own copy. */
  readonly index: bigint;
  readonly waitSeconds: number;
}

export interface RangeReply {
  /** X-Consul-Index: where the next blocking read waits. */
  readonly index: bigint;
  readonly entries: readonly StoreEntry[];
}

/** How a write leaves the key's lock: as it is, in one session, or in none. */
export type LockChange = "keep" | { readonly from: string | null; readonly to: string | null };

/** Blocking reads take up to a sixteenth longer than requested; the rest is for the transfer. */
const BLOCKING_SLACK_MS = 10_000;

/** A key as Consul answers it, its value decoded by the library. */
interface KvItem {
  readonly Key: string;
  readonly Value?: string | null;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
  readonly Session?: string;
}

interface KvOperation {
  readonly Verb: "check-not-exists" | "check-index" | "check-session" | "delete" | "set" | "lock" | "unlock";
  readonly Key: string;
  readonly Index?: number;
  readonly Value?: string;
  readonly Session?: string;
}

interface TransactionBody {
  readonly Results?: readonly { readonly KV: KvItem }[] | null;
  readonly Errors?: readonly { readonly OpIndex: number; readonly What: string }[] | null;
}

export class ConsulKv {
  readonly #client: ConsulClient;
  readonly #prefix: string;
  readonly #readRight: string;
  readonly #writeRight: string;

  constructor(client: ConsulClient, layout: Layout) {
    const prefix = layout.subnets.slice(0, -"subnets/".length);
    this.#client = client;
    this.#prefix = prefix;
    this.#readRight = `key_prefix "${prefix}" { policy = "read" }`;
    this.#writeRight = `key_prefix "${prefix}" { policy = "write" }`;
  }

  /** One key, or all keys that begin with a folder. */
  async read(range: string, blocking: Blocking | null, signal: AbortSignal): Promise<RangeReply> {
    const recurse = isFolder(range);
    const { index, items } = await this.#read({ key: range, recurse }, blocking, signal);
    // A listing omits keys that the token may not read; for a single key Consul returns an error.
    if (recurse && items.length === 0) await this.#read({ key: range, recurse: false }, null, signal);
    return { index, entries: items.map((item) => entryOf(item, item.Value ?? "")) };
  }

  /**
   * The index of all keys under the prefix, from the server's own copy: some 400 bytes, because the names in folders
   * are omitted. Proves that the server answers and has a leader.
   */
  async readIndex(deadlineMs: number, signal: AbortSignal): Promise<bigint> {
    const call: ConsulCall = {
      name: "kv.keys",
      right: this.#readRight,
      isRepeatable: true,
      deadlineMs,
      answers: [404],
      send: (consul, common) => {
        const options = { key: this.#prefix, separator: "/", stale: true, ...common };
        return consul.kv.keys(options);
      },
    };
    const { url, index } = await this.#client.call(call, signal);
    if (index === null) throw noConsul(url, call, "the answer has no X-Consul-Index");
    return index;
  }

  /** Writes if the key is as expected; null otherwise. */
  async write(
    Key: string,
    value: string,
    expected: Expected | null,
    lock: LockChange,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    const checks = checksOf(Key, expected);
    const writes = writesOf(Key, Buffer.from(value).toString("base64"), lock);
    const { reply, body } = await this.#transact([...checks, ...writes], false, signal);
    const item = body.Results?.at(-1)?.KV;
    if (isKvItem(item)) return entryOf(item, value);
    this.#requireFailedCheck(reply, body, checks.length);
    return null;
  }

  /** Deletes the key if it is as expected; true also when it is absent. */
  async delete(Key: string, expected: Expected, signal: AbortSignal): Promise<boolean> {
    const checks = checksOf(Key, expected);
    const { reply, body } = await this.#transact([...checks, { Verb: "delete", Key }], true, signal);
    if (body.Results !== undefined && !body.Errors?.length) return true;
    this.#requireFailedCheck(reply, body, checks.length);
    return (await this.read(Key, null, signal)).entries.length === 0;
  }

  async #read(
    what: { readonly key: string; readonly recurse: boolean },
    blocking: Blocking | null,
    signal: AbortSignal,
  ): Promise<{ readonly index: bigint; readonly items: readonly KvItem[] }> {
    const operation: ConsulOperation = { name: "kv.get", right: this.#readRight };
    const query = blocking
      ? { stale: true, index: String(blocking.index), wait: `${blocking.waitSeconds}s` }
      : {};
    const waitMs = (blocking?.waitSeconds ?? 0) * 1000;
    const reply = await this.#client.call(
      {
        ...operation,
        isRepeatable: true,
        ...(blocking ? { deadlineMs: (waitMs * 17) / 16 + BLOCKING_SLACK_MS, isBlocking: true } : {}),
        send: (consul, common) => consul.kv.get({ ...what, ...query, ...common }),
      },
      signal,
    );
    if (reply.index === null) throw noConsul(reply.url, operation, "the answer has no X-Consul-Index");
    const items = reply.body === undefined ? [] : [reply.body].flat();
    if (!items.every(isKvItem)) throw noConsul(reply.url, operation, "the answer holds no keys");
    return { index: reply.index, items };
  }

  async #transact(
    operations: readonly KvOperation[],
    isRepeatable: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly reply: ConsulReply; readonly body: TransactionBody }> {
    const reply = await this.#client.call(
      {
        ...this.#writeOperation("txn"),
        isRepeatable,
        answers: [409],
        send: (consul, common) =>
          // The library's types spell these names in lower case, which Consul would not understand.
          consul.transaction.create(operations.map((KV) => ({ KV })) as never, common as never),
      },
      signal,
    );
    const body = typeof reply.body === "object" && reply.body !== null ? (reply.body as TransactionBody) : {};
    return { reply, body };
  }

  /** Throws unless the transaction failed at one of its comparisons, which come first. */
  #requireFailedCheck({ url }: ConsulReply, { Errors }: TransactionBody, checkCount: number): void {
    const operation = this.#writeOperation("txn");
    const error = Errors?.[0];
    if (!error) throw noConsul(url, operation, "the answer is not a transaction's");
    if (/Permission denied/i.test(error.What)) throw permissionDenied(url, operation, error.What);
    if (error.OpIndex < checkCount) return;
    throw new StoreError(`consul txn at ${url} was refused: ${error.What}: retrying`, {
      retryable: true,
      details: { url, outcomeUnknown: false },
    });
  }

  #writeOperation(name: string): ConsulOperation {
    return { name, right: this.#writeRight };
  }
}

/** Servers that were restored from a backup reuse revisions, but not ids of sessions. */
function checksOf(Key: string, expected: Expected | null): readonly KvOperation[] {
  if (expected === null) return [{ Verb: "check-not-exists", Key }];
  const { revision, storeLeaseId } = expected;
  // Consul compares the empty name with a key that no session holds.
  const session: KvOperation[] =
    storeLeaseId === undefined ? [] : [{ Verb: "check-session", Key, Session: storeLeaseId ?? "" }];
  return [{ Verb: "check-index", Key, Index: Number(revision) }, ...session];
}

/** A plain `set` keeps the lock; a lock moves to another session through `unlock`, in one transaction. */
function writesOf(Key: string, Value: string, lock: LockChange): readonly KvOperation[] {
  if (lock === "keep") return [{ Verb: "set", Key, Value }];
  const unlock: KvOperation[] = lock.from ? [{ Verb: "unlock", Key, Value, Session: lock.from }] : [];
  return [...unlock, lock.to ? { Verb: "lock", Key, Value, Session: lock.to } : { Verb: "set", Key, Value }];
}

function entryOf(item: KvItem, value: string): StoreEntry {
  return {
    key: item.Key,
    value,
    revision: BigInt(item.ModifyIndex),
    createRevision: BigInt(item.CreateIndex),
    storeLeaseId: item.Session || null,
  };
}

function isKvItem(item: unknown): item is KvItem {
  return (
    typeof item === "object" &&
    item !== null &&
    "Key" in item &&
    typeof item.Key === "string" &&
    "ModifyIndex" in item &&
    typeof item.ModifyIndex === "number"
  );
}
