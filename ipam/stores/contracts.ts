/**
 * The contracts between tulle and a store: LeaseFeed, LeaseKeys, ConfigStore and Records of one network, each small
 * enough for a store that offers only some of them. The LeaseClaimer, which turns them into this host's lease, is
 * ipam/leases/claimer.ts.
 *
 * A store moves text: keys and values are not decoded here, so that one codec and one policy for malformed values
 * serve every store. The layout is flannel's:
 *
 *     <prefix>/config             the network configuration
 *     <prefix>/subnets/<key>      one lease
 *     <prefix>/tulle/<name>       records of tulle, which flannel does not read
 *
 * What holds for each method, checked for every store by test/conformance:
 *  - a write is a compare-and-swap;
 *  - a method takes an AbortSignal and rejects soon after it fires;
 *  - errors are StoreError (with `retryable`), SubnetTakenError, LeaseLostError, ConfigError for a setting that the
 *    store refuses, ConflictError for the configuration and the records, and the signal's reason; no others;
 *  - a write that failed with `details.outcomeUnknown` may have happened: read before the next attempt;
 *  - deleting an absent key succeeds;
 *  - folder keys (a name that ends in a slash, without a value), which user interfaces of stores create, are ignored.
 */

/** One key and its value at one revision. */
export interface StoreEntry {
  /** Relative to the folder it was read from: a lease key, or a record's name. */
  readonly key: string;
  readonly value: string;
  /** Revision of the last modification; what compare-and-swap compares. */
  readonly revision: bigint;
  readonly createRevision: bigint;
  /** Identity of the store's lease (etcd) or session (Consul) attached to the key; null when it never expires. */
  readonly storeLeaseId: string | null;
}

/** A change of a key. */
export type EntryChange =
  | { readonly type: "put"; readonly entry: StoreEntry }
  | { readonly type: "delete"; readonly key: string; readonly revision: bigint };

/** A change of a lease, or of the network configuration. */
export type StoreChange =
  | EntryChange
  | { readonly type: "config"; readonly value: string | null; readonly revision: bigint };

/** What a watch yields: one full listing first and after every gap, else the changes, in store order. */
export type StoreMessage =
  | ({ readonly type: "list" } & StoreListing)
  | { readonly type: "changes"; readonly revision: bigint; readonly changes: readonly StoreChange[] };

/** Whether the store can be followed; if not, why. */
export type StoreHealth =
  | { readonly isFollowed: true }
  | { readonly isFollowed: false; readonly reason: string };

export interface StoreListing {
  /** The revision at which the listing is complete. */
  readonly revision: bigint;
  readonly entries: readonly StoreEntry[];
  /** Text of the network configuration, null when there is none. */
  readonly config: string | null;
}

/** All leases of the network, and the configuration that they depend on. */
export interface LeaseFeed {
  /** Lists all leases and the configuration at one revision. */
  list(signal: AbortSignal): Promise<StoreListing>;

  /**
   * Yields a listing, then changes, without end; retries and lists again after every gap. Ends on abort. `onHealth` is
   * called when the store can no longer be followed, before the next message, and when it can be followed again.
   */
  watch(signal: AbortSignal, onHealth?: (health: StoreHealth) => void): AsyncIterable<StoreMessage>;
}

/** Single lease keys, for hosts that allocate their subnets themselves. */
export interface LeaseKeys {
  /** Leases created after `revision`: those that may conflict with a lease that was just created. */
  listCreatedAfter(revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]>;

  /**
   * Creates a lease that expires `ttlSeconds` after its last keep-alive; Infinity makes a reservation, which does not
   * expire. SubnetTakenError when the key exists.
   */
  create(key: string, value: string, ttlSeconds: number, signal: AbortSignal): Promise<StoreEntry>;

  /**
   * Writes a new value if the entry is unchanged since `entry` was read; LeaseLostError otherwise.
   * `ttlSeconds` null keeps the attached store lease (a reservation stays one); a number attaches a new store
   * lease of ours in the same transaction, which is how a key written by another agent is adopted; Infinity
   * detaches it, which makes a reservation of a lease.
   */
  replace(
    entry: StoreEntry,
    value: string,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry>;

  /**
   * Extends the attached store lease and returns how many seconds it has now. LeaseLostError when the store says that
   * it is gone. A reservation returns Infinity without a request.
   */
  keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number>;

  /** Deletes the entry if it is unchanged since it was read; LeaseLostError when it changed. */
  remove(entry: StoreEntry, signal: AbortSignal): Promise<void>;
}

export interface ConfigEntry {
  readonly text: string;
  readonly revision: bigint;
}

/** The network configuration. */
export interface ConfigStore {
  /** The configuration text, null when absent. */
  read(signal: AbortSignal): Promise<ConfigEntry | null>;

  /** Writes the configuration if it is still at `expected` (null: absent). ConflictError otherwise. */
  write(text: string, expected: ConfigEntry | null, signal: AbortSignal): Promise<ConfigEntry>;
}

/** What a watch of records yields: as of leases. */
export type RecordMessage =
  | { readonly type: "list"; readonly revision: bigint; readonly entries: readonly StoreEntry[] }
  | { readonly type: "changes"; readonly revision: bigint; readonly changes: readonly EntryChange[] };

/**
 * Named values of tulle: a compare-and-swap key-value store. A name is words separated by single slashes; a folder is
 * a name that ends in a slash (`affinity/`), or empty for all records. Keys of entries are whole names.
 */
export interface Records {
  /** The records of `folder` at one revision, read in pages however many there are. */
  list(folder: string, signal: AbortSignal): Promise<readonly StoreEntry[]>;

  /** As LeaseFeed.watch, for ranges of records: folders, and single records by their whole names. */
  watch(
    ranges: string | readonly string[],
    signal: AbortSignal,
    onHealth?: (health: StoreHealth) => void,
  ): AsyncIterable<RecordMessage>;

  /** One record, null when absent. */
  read(name: string, signal: AbortSignal): Promise<StoreEntry | null>;

  /**
   * Writes a record if it is still at `expected` (null: absent). ConflictError otherwise. It expires `ttlSeconds`
   * after its last keep-alive (default: never), whatever was attached to it before.
   */
  write(
    name: string,
    value: string,
    expected: StoreEntry | null,
    signal: AbortSignal,
    ttlSeconds?: number,
  ): Promise<StoreEntry>;

  /** As LeaseKeys.keepAlive; ConflictError when the record has expired. */
  keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number>;

  /** Deletes the record if it is unchanged since it was read; ConflictError when it changed. */
  remove(entry: StoreEntry, signal: AbortSignal): Promise<void>;
}

/** One network in a store where hosts allocate their subnets. */
export interface NetworkStore {
  /** For logs and errors: the kind, the endpoints and the prefix. No secrets. */
  readonly description: string;
  /** Newest measure of a round trip to the server; null for local stores, and before the first. */
  readonly roundTripMs: number | null;
  readonly feed: LeaseFeed;
  readonly leases: LeaseKeys;
  readonly config: ConfigStore;
  readonly records: Records;
}

/** A connection to one store, shared by all networks of a daemon. Opening is lazy: the first call connects. */
export interface StoreConnection {
  readonly description: string;
  /** A local or remote address that packets to the store go to, for the choice of interface; null for local files. */
  readonly remoteHost: string | null;
  /** Names and addresses of all its servers. */
  readonly remoteHosts: readonly string[];
  network(prefix: string): NetworkStore;
  /**
   * Drops all connections; the next call connects again. For a host whose address changed: packets of the old
   * connections go nowhere, and detecting that takes seconds.
   */
  redial(): void;
  close(): Promise<void>;
}
