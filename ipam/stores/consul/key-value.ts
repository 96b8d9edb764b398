/**
 * Keys in Consul, with sessions for those that expire.
 *
 * A write compares the key's ModifyIndex in the transaction that writes. client.ts reaches the servers, kv.ts makes
 * the requests, watch.ts follows ranges.
 */

import { partOf } from "../../part-signal.ts";
import { isOutcomeUnknown } from "../answers.ts";
import type { StoreEntry, StoreHealth } from "../contracts.ts";
import { healedWatch } from "../healed-watch.ts";
import type { Expected, KeyListing, KeyMessage, KeyValue } from "../key-value.ts";
import type { StoreEnvironment } from "../options.ts";
import { RETURN_CHECK_MS, untilServed } from "../return-check.ts";
import type { ConsulClient } from "./client.ts";
import { isServerFailure } from "./errors.ts";
import type { ConsulKv } from "./kv.ts";
import type { ConsulSessions } from "./sessions.ts";
import { followConsul } from "./watch.ts";

export interface ConsulKeyValueOptions {
  readonly client: ConsulClient;
  readonly kv: ConsulKv;
  readonly sessions: ConsulSessions;
  readonly environment: StoreEnvironment;
  readonly description: string;
}

export class ConsulKeyValue implements KeyValue {
  readonly #options: ConsulKeyValueOptions;

  constructor(options: ConsulKeyValueOptions) {
    this.#options = options;
  }

  get roundTripMs(): number | null {
    return this.#options.client.roundTripMs;
  }

  async read(key: string, signal: AbortSignal): Promise<StoreEntry | null> {
    return (await this.#options.kv.read(key, null, signal)).entries[0] ?? null;
  }

  async list(ranges: readonly string[], signal: AbortSignal): Promise<KeyListing> {
    const all = partOf(signal);
    try {
      const replies = await Promise.all(
        ranges.map((range) => this.#options.kv.read(range, null, all.signal)),
      );
      return { revision: replies[0]?.index ?? 0n, entries: replies.flatMap(({ entries }) => entries) };
    } finally {
      // When one read has failed, the others must not go on to connect: the next attempt may use other certificates.
      all.end();
    }
  }

  async listCreatedAfter(folder: string, revision: bigint, signal: AbortSignal): Promise<StoreEntry[]> {
    const { entries } = await this.#options.kv.read(folder, null, signal);
    return entries.filter((entry) => entry.createRevision > revision);
  }

  async write(
    key: string,
    value: string,
    expected: Expected | null,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    const { kv, sessions } = this.#options;
    if (ttlSeconds === null) return await kv.write(key, value, expected, "keep", signal);
    const from = expected?.storeLeaseId ?? null;
    const written = await this.#withSession(key, ttlSeconds, signal, (to) =>
      kv.write(key, value, expected, { from, to }, signal),
    );
    if (written !== null && from !== null) await sessions.retire(from, signal);
    return written;
  }

  async extend(
    { storeLeaseId }: { readonly storeLeaseId: string },
    signal: AbortSignal,
  ): Promise<number | null> {
    return await this.#options.sessions.renew(storeLeaseId, signal);
  }

  async delete(entry: StoreEntry, signal: AbortSignal): Promise<boolean> {
    const { kv, sessions } = this.#options;
    const isGone = await kv.delete(entry.key, entry, signal);
    if (isGone && entry.storeLeaseId !== null) await sessions.retire(entry.storeLeaseId, signal);
    return isGone;
  }

  watch(
    ranges: readonly string[],
    signal: AbortSignal,
    onHealth?: (health: StoreHealth) => void,
  ): AsyncIterable<KeyMessage> {
    const { client, kv, environment, description } = this.#options;
    const { log, clock } = environment;
    let isAway = false;
    async function* follow(): AsyncGenerator<KeyMessage> {
      try {
        yield* followConsul({ kv, ranges, environment }, signal);
        log.debug("consul's index went back, listing again");
      } catch (error) {
        isAway = isServerFailure(error);
        throw error;
      }
    }
    const ask = (until: AbortSignal) => kv.readIndex(RETURN_CHECK_MS, until);
    const wake = (until: AbortSignal) =>
      isAway ? untilServed(ask, environment, until) : clock.sleep(Number.POSITIVE_INFINITY, until);
    const redials = () => client.redials;
    return healedWatch(follow, { ...environment, description, redials, wake, onHealth }, signal);
  }

  /** Creates a session for `use` and ends it when `use` certainly wrote nothing, so that none is leaked. */
  async #withSession(
    key: string,
    ttlSeconds: number,
    signal: AbortSignal,
    use: (id: string | null) => Promise<StoreEntry | null>,
  ): Promise<StoreEntry | null> {
    const { sessions } = this.#options;
    if (ttlSeconds === Number.POSITIVE_INFINITY) return await use(null);
    const id = await sessions.create(key, ttlSeconds, signal);
    try {
      const written = await use(id);
      if (written === null) await sessions.retire(id, signal);
      return written;
    } catch (error) {
      // Ending a session that may hold the key would delete the key.
      if (!signal.aborted && !isOutcomeUnknown(error)) await sessions.retire(id, signal);
      throw error;
    }
  }
}
