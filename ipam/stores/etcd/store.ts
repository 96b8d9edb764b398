/**
 * Leases in etcd, in flannel's layout, through the v3 API.
 *
 * Every write is a transaction that compares the key's revision. How servers are reached is etcd-client.ts's
 * affair.
 */

import { StoreError } from "../../errors.ts";
import { errorFields } from "../../log.ts";
import { changedMeanwhile, isOutcomeUnknown, leaseChanged, leaseGone, subnetTaken } from "../answers.ts";
import { healedWatch } from "../healed-watch.ts";
import { type Layout, layoutOf, recordKey, warnAboutMissingSlash } from "../layout.ts";
import type { EtcdOptions, StoreEnvironment } from "../options.ts";
import { RETURN_CHECK_MS, untilServed } from "../return-check.ts";
import type {
  ConfigEntry,
  StoreConnection,
  StoreEntry,
  StoreHealth,
  StoreListing,
  StoreMessage,
  SubnetStore,
} from "../store.ts";
import { untilAccepting } from "../tcp-probe.ts";
import { EtcdClient } from "./client.ts";
import { listFolder, listingOf, listNetwork } from "./listing.ts";
import { EtcdFollower } from "./watch.ts";
import { type Expected, entryOf, rangeOf, unchangedSince } from "./wire.ts";

const NO_LEASE = "0";

/** For giving a store lease back; nobody waits longer for that. */
const REVOKE_DEADLINE_MS = 2_000;

/** Opens a connection that dials at the first call. ConfigError for unusable endpoints. */
export function openEtcdStore(options: EtcdOptions, environment: StoreEnvironment): StoreConnection {
  const client = new EtcdClient(options, environment);
  return {
    description: `etcd ${client.description}`,
    remoteHost: client.endpoints[0]?.host ?? null,
    network: (prefix): SubnetStore => {
      const store = new EtcdStore(client, prefix, environment);
      warnAboutMissingSlash(prefix, environment.log);
      return store;
    },
    redial: () => client.redial(),
    close: async () => client.close(),
  };
}

type PutLease = { readonly lease: string } | { readonly ignore_lease: true };

class EtcdStore implements SubnetStore {
  readonly description: string;
  readonly #client: EtcdClient;
  readonly #environment: StoreEnvironment;
  readonly #layout: Layout;

  constructor(client: EtcdClient, prefix: string, environment: StoreEnvironment) {
    this.description = `etcd ${client.description} ${prefix}`;
    this.#client = client;
    this.#environment = environment;
    this.#layout = layoutOf(prefix);
  }

  async list(signal: AbortSignal): Promise<StoreListing> {
    return listingOf(await listNetwork(this.#client, this.#layout, signal), this.#layout);
  }

  async listCreatedAfter(revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const min_create_revision = String(revision + 1n);
    const request = { ...rangeOf(this.#layout.subnets), min_create_revision };
    const answer = await this.#client.read("KV", "range", request, signal);
    return answer.kvs.map((kv) => entryOf(kv, this.#layout.subnets));
  }

  watch(signal: AbortSignal, onHealth?: (health: StoreHealth) => void): AsyncIterable<StoreMessage> {
    const follower = new EtcdFollower(this.#client, this.#layout);
    let isAway = false;
    async function* follow(alive: () => void): AsyncGenerator<StoreMessage> {
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
      const ask = (signal: AbortSignal) => this.#ask(signal);
      await (isAway ? Promise.race([accepted, untilServed(ask, this.#environment, until)]) : accepted);
    };
    const redials = () => this.#client.redials;
    const options = { ...this.#environment, description: this.description, redials, wake, onHealth };
    return healedWatch(follow, options, signal);
  }

  async create(key: string, value: string, ttlSeconds: number, signal: AbortSignal): Promise<StoreEntry> {
    return await this.#withLease(ttlSeconds, signal, async (lease) => {
      const entry = await this.#put(this.#layout.subnets, key, value, null, { lease }, signal);
      if (!entry) throw subnetTaken(key);
      return { ...entry, createRevision: entry.revision };
    });
  }

  async replace(
    entry: StoreEntry,
    value: string,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    const put = async (lease: PutLease): Promise<StoreEntry> => {
      const written = await this.#put(this.#layout.subnets, entry.key, value, entry, lease, signal);
      if (!written) throw leaseChanged(entry.key);
      const storeLeaseId = "lease" in lease ? written.storeLeaseId : entry.storeLeaseId;
      return { ...written, storeLeaseId, createRevision: entry.createRevision };
    };
    if (ttlSeconds === null) return await put({ ignore_lease: true });
    const replaced = await this.#withLease(ttlSeconds, signal, async (lease) => await put({ lease }));
    await this.#giveBackUnused(entry.storeLeaseId);
    return replaced;
  }

  async keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number> {
    if (entry.storeLeaseId === null) return Number.POSITIVE_INFINITY;
    const ttlSeconds = await this.#client.keepLease(entry.storeLeaseId, signal);
    if (ttlSeconds <= 0) throw leaseGone(entry.key);
    return ttlSeconds;
  }

  async remove(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    if (!(await this.#delete(this.#layout.subnets + entry.key, entry, signal))) {
      throw leaseChanged(entry.key);
    }
    await this.#giveBackUnused(entry.storeLeaseId);
  }

  async readConfig(signal: AbortSignal): Promise<ConfigEntry | null> {
    const entry = await this.#get("", this.#layout.config, signal);
    return entry && { text: entry.value, revision: entry.revision };
  }

  async writeConfig(text: string, expected: ConfigEntry | null, signal: AbortSignal): Promise<ConfigEntry> {
    const entry = await this.#swap("", this.#layout.config, text, expected, signal);
    return { text, revision: entry.revision };
  }

  async listRecords(folder: string, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const kvs = await listFolder(this.#client, this.#layout.records + folder, signal);
    return kvs.map((kv) => entryOf(kv, this.#layout.records));
  }

  async readRecord(name: string, signal: AbortSignal): Promise<StoreEntry | null> {
    recordKey(this.#layout, name);
    return await this.#get(this.#layout.records, name, signal);
  }

  async writeRecord(
    name: string,
    value: string,
    expected: StoreEntry | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    recordKey(this.#layout, name);
    const entry = await this.#swap(this.#layout.records, name, value, expected, signal);
    return { ...entry, createRevision: expected?.createRevision ?? entry.revision };
  }

  async removeRecord(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    const key = recordKey(this.#layout, entry.key);
    if (!(await this.#delete(key, entry, signal))) throw changedMeanwhile(key);
  }

  /** Resolves when a majority answers, and soon. */
  async #ask(signal: AbortSignal): Promise<void> {
    const request = { key: Buffer.from(this.#layout.config), count_only: true };
    await this.#client.read("KV", "range", request, signal, RETURN_CHECK_MS);
  }

  async #get(folder: string, name: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const answer = await this.#client.read("KV", "range", { key: Buffer.from(folder + name) }, signal);
    const kv = answer.kvs[0];
    return kv ? entryOf(kv, folder) : null;
  }

  async #swap(
    folder: string,
    name: string,
    value: string,
    expected: Expected,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    const entry = await this.#put(folder, name, value, expected, { lease: NO_LEASE }, signal);
    if (!entry) throw changedMeanwhile(folder + name);
    return entry;
  }

  /** Puts if the key is as expected; null otherwise. */
  async #put(
    folder: string,
    name: string,
    value: string,
    expected: Expected,
    lease: PutLease,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    const key = folder + name;
    const request_put = { key: Buffer.from(key), value: Buffer.from(value), ...lease };
    const request = { compare: unchangedSince(key, expected), success: [{ request_put }] };
    const answer = await this.#client.write("KV", "txn", request, signal);
    if (!answer.succeeded) return null;
    const written = BigInt(answer.header.revision);
    const storeLeaseId = "lease" in lease && lease.lease !== NO_LEASE ? lease.lease : null;
    return { key: name, value, revision: written, createRevision: written, storeLeaseId };
  }

  /** Deletes if the key is as expected; true also when it is absent. */
  async #delete(key: string, expected: Expected, signal: AbortSignal): Promise<boolean> {
    const bytes = Buffer.from(key);
    const request = {
      compare: unchangedSince(key, expected),
      success: [{ request_delete_range: { key: bytes } }],
      failure: [{ request_range: { key: bytes, keys_only: true } }],
    };
    const answer = await this.#client.write("KV", "txn", request, signal);
    return answer.succeeded || answer.responses[0]?.response_range.kvs.length === 0;
  }

  /** Grants a store lease for `use` and gives it back when `use` surely wrote nothing, so that none is leaked. */
  async #withLease<T>(ttlSeconds: number, signal: AbortSignal, use: (id: string) => Promise<T>): Promise<T> {
    if (ttlSeconds === Number.POSITIVE_INFINITY) return await use(NO_LEASE);
    const { ID } = await this.#client.write("Lease", "leaseGrant", { TTL: Math.ceil(ttlSeconds) }, signal);
    try {
      return await use(ID);
    } catch (error) {
      // A store lease that the key may hang on by now would take the key with it.
      if (!signal.aborted && !isOutcomeUnknown(error)) await this.#revoke(ID);
      throw error;
    }
  }

  async #revoke(ID: string): Promise<void> {
    await this.#courtesy(ID, async (deadline) => {
      await this.#client.write("Lease", "leaseRevoke", { ID }, deadline);
    });
  }

  /** Revokes the store lease of a key that no longer needs it, unless other keys hang on it. */
  async #giveBackUnused(ID: string | null): Promise<void> {
    if (ID === null) return;
    await this.#courtesy(ID, async (deadline) => {
      const { TTL, keys } = await this.#client.read("Lease", "leaseTimeToLive", { ID, keys: true }, deadline);
      if (Number(TTL) > 0 && keys.length === 0)
        await this.#client.write("Lease", "leaseRevoke", { ID }, deadline);
    });
  }

  /** What may fail: the store lease then runs out by itself. */
  async #courtesy(ID: string, revoke: (deadline: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await revoke(AbortSignal.timeout(REVOKE_DEADLINE_MS));
    } catch (error) {
      this.#environment.log.debug("etcd lease stays until it runs out", { lease: ID, ...errorFields(error) });
    }
  }
}
