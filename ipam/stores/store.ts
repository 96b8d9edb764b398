/**
 * The seam between tulle and the place where leases are kept.
 *
 * A store moves text: keys and values cross this seam undecoded, so that one codec and one policy for
 * malformed values serve every store. All of them keep flannel's layout under a prefix:
 *
 *     <prefix>/config             the network configuration
 *     <prefix>/subnets/<key>      one lease
 *     <prefix>/tulle/<name>       records of tulle's own, which flannel never reads
 *
 * Contract, checked for every store by test/conformance:
 *  - each write is a compare-and-swap; nothing is ever put blindly;
 *  - every method takes an AbortSignal and rejects soon after it fires;
 *  - failures are StoreError (with `retryable`), SubnetTakenError, LeaseLostError, ConfigError for a setting that
 *    the store refuses or, for the configuration and the records, ConflictError; nothing else but the signal's
 *    own reason;
 *  - a write that failed with `details.outcomeUnknown` may have happened: read before doing it again;
 *  - deleting what is absent is a success.
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

/** A change as the store reports it. */
export type StoreChange =
  | { readonly type: "put"; readonly entry: StoreEntry }
  | { readonly type: "delete"; readonly key: string; readonly revision: bigint }
  | { readonly type: "config"; readonly value: string | null; readonly revision: bigint };

/** What a watch yields: one full listing first and after every gap, else what changed, in store order. */
export type StoreMessage =
  | ({ readonly type: "list" } & StoreListing)
  | { readonly type: "changes"; readonly revision: bigint; readonly changes: readonly StoreChange[] };

/** Whether what the store holds is being followed; if not, why. */
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

/** What a host follows: all leases and the network configuration. */
export interface LeaseFeed {
  /** Lists all leases and the configuration at one revision. */
  list(signal: AbortSignal): Promise<StoreListing>;

  /**
   * Yields a listing, then changes, without end; recovers from failures and lists again after every gap. Ends on abort.
   * `onHealth` is told when the store can no longer be followed, before anything that is yielded after that, and when
   * it can be again.
   */
  watch(signal: AbortSignal, onHealth?: (health: StoreHealth) => void): AsyncIterable<StoreMessage>;
}

/** Lease keys under compare-and-swap: what a host needs to claim a subnet and to keep it. */
export interface LeaseKeys extends Pick<LeaseFeed, "list"> {
  /** Leases created after `revision`: where to look for a rival after a create. */
  listCreatedAfter(revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]>;

  /**
   * Creates a lease that expires `ttlSeconds` after its last keep-alive; Infinity makes a reservation, which
   * never does. SubnetTakenError when the key exists.
   */
  create(key: string, value: string, ttlSeconds: number, signal: AbortSignal): Promise<StoreEntry>;

  /**
   * Writes a new value if the entry is unchanged since `entry` was read; LeaseLostError otherwise.
   * `ttlSeconds` null keeps what is attached (a reservation stays one); a number attaches a fresh store
   * lease of ours in the same transaction, which is how a key written by another agent is adopted; Infinity
   * detaches, which makes a reservation of a lease.
   */
  replace(
    entry: StoreEntry,
    value: string,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry>;

  /**
   * Extends the attached store lease and returns how many seconds it now has. LeaseLostError when the
   * store says that it is gone. A reservation returns Infinity without a request.
   */
  keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number>;

  /** Deletes the entry if it is unchanged since read; LeaseLostError when it changed. */
  remove(entry: StoreEntry, signal: AbortSignal): Promise<void>;
}

/** The network configuration. */
export interface ConfigStore {
  /** The configuration, null when absent. */
  readConfig(signal: AbortSignal): Promise<ConfigEntry | null>;

  /** Writes the configuration if it is still at `expected` (null: absent). ConflictError otherwise. */
  writeConfig(text: string, expected: ConfigEntry | null, signal: AbortSignal): Promise<ConfigEntry>;
}

/** Records of tulle's own, which never expire. */
export interface Records {
  /** The records whose name starts with `folder` (`affinity/`, or empty for all); keys are whole names. */
  listRecords(folder: string, signal: AbortSignal): Promise<readonly StoreEntry[]>;

  /** One record, null when absent. */
  readRecord(name: string, signal: AbortSignal): Promise<StoreEntry | null>;

  /** Writes a record if it is still at `expected` (null: absent). ConflictError otherwise. */
  writeRecord(
    name: string,
    value: string,
    expected: StoreEntry | null,
    signal: AbortSignal,
  ): Promise<StoreEntry>;

  /** Deletes the record if it is unchanged since read; ConflictError when it changed. */
  removeRecord(entry: StoreEntry, signal: AbortSignal): Promise<void>;
}

/** All of one network in one store. Users take the contract that they need. */
export interface SubnetStore extends LeaseFeed, LeaseKeys, ConfigStore, Records {
  /** For logs and errors: the kind, the endpoints and the prefix. No secrets. */
  readonly description: string;
}

export interface ConfigEntry {
  readonly text: string;
  readonly revision: bigint;
}

/** A connection to one store, shared by all networks of a daemon. Opening is lazy: the first call dials. */
export interface StoreConnection {
  readonly description: string;
  /** A local or remote address that packets to the store go to, for the choice of interface; null for local files. */
  readonly remoteHost: string | null;
  network(prefix: string): SubnetStore;
  /**
   * Drops what is connected; the next call dials anew. For a host whose address changed: packets of the old
   * connections go nowhere, and it would take seconds to notice.
   */
  redial(): void;
  close(): Promise<void>;
}
