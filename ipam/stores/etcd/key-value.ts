/**
 * Keys in etcd, through the v3 API. A write is a transaction that compares the key's revision.
 *
 * client.ts reaches the servers, watch.ts follows ranges.
 */

import { StoreError } from "../../errors.ts";
import { errorFields } from "../../log.ts";
import { isOutcomeUnknown } from "../answers.ts";
import type { StoreEntry, StoreHealth } from "../contracts.ts";
import { healedWatch } from "../healed-watch.ts";
import type { Expected, KeyListing, KeyMessage, KeyValue } from "../key-value.ts";
import type { StoreEnvironment } from "../options.ts";
import { RETURN_CHECK_MS, untilServed } from "../return-check.ts";
import { untilAccepting } from "../tcp-probe.ts";
import type { EtcdClient } from "./client.ts";
import { listingOf, listRanges } from "./listing.ts";
import { EtcdFollower } from "./watch.ts";
import { entryOf, NO_LEASE, rangeOf, unchangedSince } from "./wire.ts";

/** For giving a store lease back, which is not worth a longer wait. */
const REVOKE_DEADLINE_MS = 2_000;

type PutLease = { readonly lease: string } | { readonly ignore_lease: true };

export class EtcdKeyValue implements KeyValue {
  readonly #client: EtcdClient;
  readonly #environment: StoreEnvironment;
  readonly #description: string;

  constructor(client: EtcdClient, environment: StoreEnvironment, description: string) {
    this.#client = client;
    this.#environment = environment;
    this.#description = description;
  }

  get roundTripMs(): number | null {
    return this.#client.roundTripMs;
  }

  async read(key: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const answer = await this.#client.read("KV", "range", rangeOf(key), signal);
    const kv = answer.kvs[0];
    return kv ? entryOf(kv) : null;
  }

  async list(ranges: readonly string[], signal: AbortSignal): Promise<KeyListing> {
    return listingOf(await listRanges(this.#client, ranges, signal));
  }

  async listCreatedAfter(folder: string, revision: bigint, signal: AbortSignal): Promise<StoreEntry[]> {
    const request = { ...rangeOf(folder), min_create_revision: String(revision + 1n) };
    const answer = await this.#client.read("KV", "range", request, signal);
    return answer.kvs.map(entryOf);
  }

  async write(
    key: string,
    value: string,
    expected: Expected | null,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    if (ttlSeconds === null) return await this.#put(key, value, expected, { ignore_lease: true }, signal);
    const written = await this.#withLease(ttlSeconds, signal, (lease) =>
      this.#put(key, value, expected, { lease }, signal),
    );
    if (written !== null) await this.#giveBackUnused(expected?.storeLeaseId);
    return written;
  }

  async extend(
    { storeLeaseId }: { readonly storeLeaseId: string },
    signal: AbortSignal,
  ): Promise<number | null> {
    const ttlSeconds = await this.#client.keepLease(storeLeaseId, signal);
    return ttlSeconds > 0 ? ttlSeconds : null;
  }

  async delete(entry: StoreEntry, signal: AbortSignal): Promise<boolean> {
    const key = Buffer.from(entry.key);
    const request = {
      compare: unchangedSince(entry.key, entry),
      success: [{ request_delete_range: { key } }],
      failure: [{ request_range: { key, keys_only: true } }],
    };
    const answer = await this.#client.write("KV", "txn", request, signal);
    const isGone = answer.succeeded || answer.responses[0]?.response_range.kvs.length === 0;
    if (isGone) await this.#giveBackUnused(entry.storeLeaseId);
    return isGone;
  }

  watch(
    ranges: readonly string[],
    signal: AbortSignal,
    onHealth?: (health: StoreHealth) => void,
  ): AsyncIterable<KeyMessage> {
    const follower = new EtcdFollower(this.#client, ranges);
    let isAway = false;
    async function* follow(alive: () => void): AsyncGenerator<KeyMessage> {
      try {
        yield* follower.follow(alive, signal);
      } catch (error) {
        isAway = error instanceof StoreError && error.code === "TULLE_STORE_UNREACHABLE";
        throw error;
      }
    }
    // Servers that are down accept again; servers without a leader accepted all the time.
    const wake = async (until: AbortSignal): Promise<void> => {
      const accepted = untilAccepting(this.#client.endpoints, this.#environment, until);
      const ask = (signal: AbortSignal) => this.#checkService(ranges[0] ?? "", signal);
      await (isAway ? Promise.race([accepted, untilServed(ask, this.#environment, until)]) : accepted);
    };
    const redials = () => this.#client.redials;
    const options = { ...this.#environment, description: this.#description, redials, wake, onHealth };
    return healedWatch(follow, options, signal);
  }

  /** Resolves when a majority answers, and soon. */
  async #checkService(range: string, signal: AbortSignal): Promise<void> {
    const request = { key: Buffer.from(range), count_only: true };
    await this.#client.read("KV", "range", request, signal, RETURN_CHECK_MS);
  }

  /** Null when the key is not as expected. */
  async #put(
    key: string,
    value: string,
    expected: Expected | null,
    lease: PutLease,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    const request_put = { key: Buffer.from(key), value: Buffer.from(value), ...lease };
    const request = { compare: unchangedSince(key, expected), success: [{ request_put }] };
    const answer = await this.#client.write("KV", "txn", request, signal);
    if (!answer.succeeded) return null;
    const revision = BigInt(answer.header.revision);
    const attached = "lease" in lease ? lease.lease : (expected?.storeLeaseId ?? NO_LEASE);
    const storeLeaseId = attached === NO_LEASE ? null : attached;
    return { key, value, revision, createRevision: expected?.createRevision ?? revision, storeLeaseId };
  }

  /** Grants a store lease for `use` and gives it back when `use` certainly wrote nothing, so that none is leaked. */
  async #withLease(
    ttlSeconds: number,
    signal: AbortSignal,
    use: (id: string) => Promise<StoreEntry | null>,
  ): Promise<StoreEntry | null> {
    if (ttlSeconds === Number.POSITIVE_INFINITY) return await use(NO_LEASE);
    const { ID } = await this.#client.write("Lease", "leaseGrant", { TTL: Math.ceil(ttlSeconds) }, signal);
    try {
      const written = await use(ID);
      if (written === null) await this.#revoke(ID);
      return written;
    } catch (error) {
      // Revoking a store lease that the key may have been attached to would delete the key.
      if (!signal.aborted && !isOutcomeUnknown(error)) await this.#revoke(ID);
      throw error;
    }
  }

  async #revoke(ID: string): Promise<void> {
    await this.#attempt(ID, async (deadline) => {
      await this.#client.write("Lease", "leaseRevoke", { ID }, deadline);
    });
  }

  /** Revokes the store lease of a key that no longer needs it, unless other keys are attached to it. */
  async #giveBackUnused(ID: string | null | undefined): Promise<void> {
    if (!ID) return;
    await this.#attempt(ID, async (deadline) => {
      const { TTL, keys } = await this.#client.read("Lease", "leaseTimeToLive", { ID, keys: true }, deadline);
      if (Number(TTL) > 0 && keys.length === 0)
        await this.#client.write("Lease", "leaseRevoke", { ID }, deadline);
    });
  }

  /** A failure is harmless: the store lease expires. */
  async #attempt(ID: string, revoke: (deadline: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await revoke(AbortSignal.timeout(this.#client.deadlineMs(REVOKE_DEADLINE_MS)));
    } catch (error) {
      this.#environment.log.debug("etcd lease stays until it expires", { lease: ID, ...errorFields(error) });
    }
  }
}
