/**
 * Leases in Consul's key-value store, in flannel's layout, held by sessions.
 *
 * Every write compares the key's ModifyIndex in the same transaction that writes. How servers are reached is
 * consul-client.ts's affair, how the network is followed consul-watch.ts's.
 */

import { partOf } from "../../part-signal.ts";
import { changedMeanwhile, isOutcomeUnknown, leaseChanged, leaseGone, subnetTaken } from "../answers.ts";
import { healedWatch } from "../healed-watch.ts";
import { type Layout, layoutOf, recordKey } from "../layout.ts";
import type { ConsulOptions, StoreEnvironment } from "../options.ts";
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
import { ConsulClient } from "./client.ts";
import { isServerFailure } from "./errors.ts";
import { ConsulKv, type Expected } from "./kv.ts";
import { ConsulSessions } from "./sessions.ts";
import { followConsul } from "./watch.ts";

/** Opens a connection that dials at the first call. ConfigError for unusable addresses. */
export function openConsulStore(options: ConsulOptions, environment: StoreEnvironment): StoreConnection {
  const client = new ConsulClient(options, environment);
  const sessions = new ConsulSessions(client, options.nodeName, environment);
  return {
    description: `consul ${client.description}`,
    remoteHost: client.endpoints[0]?.host ?? null,
    network: (prefix): SubnetStore => new ConsulStore(client, sessions, prefix, environment),
    redial: () => client.redial(),
    close: async () => client.close(),
  };
}

class ConsulStore implements SubnetStore {
  readonly description: string;
  readonly #client: ConsulClient;
  readonly #sessions: ConsulSessions;
  readonly #environment: StoreEnvironment;
  readonly #layout: Layout;
  readonly #kv: ConsulKv;

  constructor(client: ConsulClient, sessions: ConsulSessions, prefix: string, environment: StoreEnvironment) {
    // Consul's keys have no leading slash: it refuses one.
    this.#layout = layoutOf(prefix.replace(/^\/+/, ""));
    this.description = `consul ${client.description} ${prefix}`;
    this.#client = client;
    this.#sessions = sessions;
    this.#environment = environment;
    this.#kv = new ConsulKv(client, this.#layout);
  }

  async list(signal: AbortSignal): Promise<StoreListing> {
    const both = partOf(signal);
    try {
      const [leases, config] = await Promise.all([this.#leases(both.signal), this.readConfig(both.signal)]);
      return { revision: leases.index, entries: leases.entries, config: config?.text ?? null };
    } finally {
      // When one has failed, the other must not go on to dial: what comes next may be asked with other certificates.
      both.end();
    }
  }

  async listCreatedAfter(revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const { entries } = await this.#leases(signal);
    return entries.filter((entry) => entry.createRevision > revision);
  }

  watch(signal: AbortSignal, onHealth?: (health: StoreHealth) => void): AsyncIterable<StoreMessage> {
    const { log, clock } = this.#environment;
    const source = { kv: this.#kv, layout: this.#layout, environment: this.#environment };
    let isAway = false;
    async function* follow(): AsyncGenerator<StoreMessage> {
      try {
        yield* followConsul(source, signal);
        log.debug("consul's index went back, listing again");
      } catch (error) {
        isAway = isServerFailure(error);
        throw error;
      }
    }
    const ask = (until: AbortSignal) => this.#kv.readIndex(RETURN_CHECK_MS, until);
    const wake = (until: AbortSignal) =>
      isAway ? untilServed(ask, this.#environment, until) : clock.sleep(Number.POSITIVE_INFINITY, until);
    const redials = () => this.#client.redials;
    const options = { ...this.#environment, description: this.description, redials, wake, onHealth };
    return healedWatch(follow, options, signal);
  }

  async create(key: string, value: string, ttlSeconds: number, signal: AbortSignal): Promise<StoreEntry> {
    return await this.#withSession(key, ttlSeconds, signal, async (to) => {
      const lock = { from: null, to };
      const entry = await this.#kv.write(this.#layout.subnets, key, value, null, lock, signal);
      if (!entry) throw subnetTaken(key);
      return entry;
    });
  }

  async replace(
    entry: StoreEntry,
    value: string,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    const { subnets } = this.#layout;
    if (ttlSeconds === null) {
      return changed(entry, await this.#kv.write(subnets, entry.key, value, entry, "keep", signal));
    }
    const from = entry.storeLeaseId;
    const written = await this.#withSession(entry.key, ttlSeconds, signal, async (to) =>
      changed(entry, await this.#kv.write(subnets, entry.key, value, entry, { from, to }, signal)),
    );
    if (from !== null) await this.#sessions.retire(from, signal);
    return written;
  }

  async keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number> {
    if (entry.storeLeaseId === null) return Number.POSITIVE_INFINITY;
    const ttlSeconds = await this.#sessions.renew(entry.storeLeaseId, signal);
    if (ttlSeconds === null) throw leaseGone(entry.key);
    return ttlSeconds;
  }

  async remove(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    if (!(await this.#kv.delete(this.#layout.subnets + entry.key, entry.revision, signal))) {
      throw leaseChanged(entry.key);
    }
    if (entry.storeLeaseId !== null) await this.#sessions.retire(entry.storeLeaseId, signal);
  }

  async readConfig(signal: AbortSignal): Promise<ConfigEntry | null> {
    const { entry } = await this.#kv.readKey(this.#layout.config, "", null, signal);
    return entry && { text: entry.value, revision: entry.revision };
  }

  async writeConfig(text: string, expected: ConfigEntry | null, signal: AbortSignal): Promise<ConfigEntry> {
    const entry = await this.#swap("", this.#layout.config, text, expected, signal);
    return { text, revision: entry.revision };
  }

  async listRecords(folder: string, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const { records } = this.#layout;
    return (await this.#kv.readFolder(records + folder, records, null, signal)).entries;
  }

  async readRecord(name: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const key = recordKey(this.#layout, name);
    return (await this.#kv.readKey(key, this.#layout.records, null, signal)).entry;
  }

  async writeRecord(
    name: string,
    value: string,
    expected: StoreEntry | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    recordKey(this.#layout, name);
    return await this.#swap(this.#layout.records, name, value, expected, signal);
  }

  async removeRecord(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    const key = recordKey(this.#layout, entry.key);
    if (!(await this.#kv.delete(key, entry.revision, signal))) throw changedMeanwhile(key);
  }

  async #leases(signal: AbortSignal) {
    return await this.#kv.readFolder(this.#layout.subnets, this.#layout.subnets, null, signal);
  }

  async #swap(
    base: string,
    name: string,
    value: string,
    expected: Expected,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    const entry = await this.#kv.write(base, name, value, expected, { from: null, to: null }, signal);
    if (!entry) throw changedMeanwhile(base + name);
    return entry;
  }

  /** Makes a session for `use` and ends it when `use` surely wrote nothing, so that none is leaked. */
  async #withSession(
    key: string,
    ttlSeconds: number,
    signal: AbortSignal,
    use: (id: string | null) => Promise<StoreEntry>,
  ): Promise<StoreEntry> {
    if (ttlSeconds === Number.POSITIVE_INFINITY) return await use(null);
    const id = await this.#sessions.create(this.#layout.subnets + key, ttlSeconds, signal);
    try {
      return await use(id);
    } catch (error) {
      // A session that may hold the key would take the key with it.
      if (!signal.aborted && !isOutcomeUnknown(error)) await this.#sessions.retire(id, signal);
      throw error;
    }
  }
}

function changed(entry: StoreEntry, written: StoreEntry | null): StoreEntry {
  if (!written) throw leaseChanged(entry.key);
  return written;
}
