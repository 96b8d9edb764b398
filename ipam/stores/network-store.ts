/** The contracts of one network on top of any KeyValue: names, folders, and the error of a rejected write. */

import { changedMeanwhile, leaseChanged, leaseGone, subnetTaken } from "./answers.ts";
import type {
  ConfigStore,
  LeaseFeed,
  LeaseKeys,
  NetworkStore,
  RecordMessage,
  Records,
  StoreChange,
  StoreEntry,
  StoreMessage,
} from "./contracts.ts";
import { named, namedChange, namedEntries } from "./folder-names.ts";
import type { KeyListing, KeyValue } from "./key-value.ts";
import { type Layout, recordFolder, recordKey, recordRange } from "./layout.ts";

/** The network that `layout` locates in the store behind `keys`. */
export function networkOver(keys: KeyValue, layout: Layout, description: string): NetworkStore {
  return {
    description,
    get roundTripMs() {
      return keys.roundTripMs;
    },
    feed: leaseFeed(keys, layout),
    leases: leaseKeys(keys, layout),
    config: configStore(keys, layout),
    records: records(keys, layout),
  };
}

function leaseFeed(keys: KeyValue, { subnets, config }: Layout): LeaseFeed {
  const ranges = [subnets, config];
  const listing = ({ revision, entries }: KeyListing) => ({
    revision,
    entries: namedEntries(entries, subnets),
    config: entries.find(({ key }) => key === config)?.value ?? null,
  });
  return {
    list: async (signal) => listing(await keys.list(ranges, signal)),
    async *watch(signal, onHealth): AsyncGenerator<StoreMessage> {
      for await (const message of keys.watch(ranges, signal, onHealth)) {
        if (message.type === "list") yield { type: "list", ...listing(message) };
        else {
          const changes = message.changes.map((change): StoreChange => {
            const key = change.type === "put" ? change.entry.key : change.key;
            if (key !== config) return namedChange(change, subnets);
            return change.type === "put"
              ? { type: "config", value: change.entry.value, revision: change.entry.revision }
              : { type: "config", value: null, revision: change.revision };
          });
          yield { ...message, changes };
        }
      }
    },
  };
}

function leaseKeys(keys: KeyValue, { subnets }: Layout): LeaseKeys {
  return {
    listCreatedAfter: async (revision, signal) =>
      namedEntries(await keys.listCreatedAfter(subnets, revision, signal), subnets),
    create: async (key, value, ttlSeconds, signal) => {
      const entry = await keys.write(subnets + key, value, null, ttlSeconds, signal);
      if (entry === null) throw subnetTaken(key);
      return named(entry, subnets);
    },
    replace: async (entry, value, ttlSeconds, signal) => {
      const written = await keys.write(subnets + entry.key, value, entry, ttlSeconds, signal);
      if (written === null) throw leaseChanged(entry.key);
      return named(written, subnets);
    },
    keepAlive: async (entry, signal) => {
      const seconds = await extend(keys, whole(entry, subnets), signal);
      if (seconds === null) throw leaseGone(entry.key);
      return seconds;
    },
    remove: async (entry, signal) => {
      if (!(await keys.delete(whole(entry, subnets), signal))) throw leaseChanged(entry.key);
    },
  };
}

function configStore(keys: KeyValue, { config }: Layout): ConfigStore {
  return {
    read: async (signal) => {
      const entry = await keys.read(config, signal);
      return entry && { text: entry.value, revision: entry.revision };
    },
    write: async (text, expected, signal) => {
      const entry = await keys.write(config, text, expected, Number.POSITIVE_INFINITY, signal);
      if (entry === null) throw changedMeanwhile(config);
      return { text, revision: entry.revision };
    },
  };
}

function records(keys: KeyValue, layout: Layout): Records {
  const base = layout.records;
  return {
    list: async (folder, signal) =>
      namedEntries((await keys.list([recordFolder(layout, folder)], signal)).entries, base),
    async *watch(ranges, signal, onHealth): AsyncGenerator<RecordMessage> {
      const keyRanges = [ranges].flat().map((range) => recordRange(layout, range));
      for await (const message of keys.watch(keyRanges, signal, onHealth)) {
        if (message.type === "list") yield { ...message, entries: namedEntries(message.entries, base) };
        else yield { ...message, changes: message.changes.map((change) => namedChange(change, base)) };
      }
    },
    read: async (name, signal) => named(await keys.read(recordKey(layout, name), signal), base),
    write: async (name, value, expected, signal, ttlSeconds = Number.POSITIVE_INFINITY) => {
      const key = recordKey(layout, name);
      const entry = await keys.write(key, value, expected, ttlSeconds, signal);
      if (entry === null) throw changedMeanwhile(key);
      return named(entry, base);
    },
    keepAlive: async (entry, signal) => {
      const record = whole(entry, base);
      const seconds = await extend(keys, record, signal);
      if (seconds === null) throw changedMeanwhile(record.key);
      return seconds;
    },
    remove: async (entry, signal) => {
      const key = recordKey(layout, entry.key);
      if (!(await keys.delete({ ...entry, key }, signal))) throw changedMeanwhile(key);
    },
  };
}

/** Infinity, without a request, for what never expires. */
async function extend(keys: KeyValue, entry: StoreEntry, signal: AbortSignal): Promise<number | null> {
  const { storeLeaseId } = entry;
  if (storeLeaseId === null) return Number.POSITIVE_INFINITY;
  return await keys.extend({ ...entry, storeLeaseId }, signal);
}

function whole(entry: StoreEntry, folder: string): StoreEntry {
  return { ...entry, key: folder + entry.key };
}
