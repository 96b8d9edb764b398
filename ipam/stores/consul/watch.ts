/**
 * Follows one network in Consul by blocking reads, each of which answers everything again.
 *
 * Blocking reads are answered by the server's own copy: thousands of hosts do not lean on the leader, and its
 * death is not felt. A listing, first and after every gap, comes from the leader. Ends, or throws, whenever it
 * cannot promise completeness; who calls it lists again.
 */

import { Backoff } from "../../clock.ts";
import { partOf } from "../../part-signal.ts";
import { changedKeys } from "../changed-keys.ts";
import type { Layout } from "../layout.ts";
import type { StoreEnvironment } from "../options.ts";
import type { StoreChange, StoreEntry, StoreMessage } from "../store.ts";
import type { Blocking, ConsulKv, FolderReply, KeyReply } from "./kv.ts";

/** How long a blocking read waits in vain. Longer means less traffic; nothing is noticed later for it. */
const WAIT_SECONDS = 300;

/** The server is asked for a sign of life this often, and left when it owes one for so long. */
const CHECK_INTERVAL_MS = 5_000;
const CHECK_DEADLINE_MS = 2_000;

/** After a list of 5,000 leases the next read waits 250 ms: a storm of changes is folded into few transfers. */
const PAUSE_PER_ENTRY_MS = 0.05;

/** Consul also answers when nothing of ours changed, most of all for what does not exist yet. */
const IDLE_BACKOFF = { baseMs: 20, maxMs: 1_000 };

export interface ConsulSource {
  readonly kv: ConsulKv;
  readonly layout: Layout;
  readonly environment: StoreEnvironment;
}

/** Yields a listing, then changes. Returns when Consul's index went back, for then nothing can be compared. */
export async function* followConsul(source: ConsulSource, signal: AbortSignal): AsyncGenerator<StoreMessage> {
  const attempt = partOf(signal);
  const leases = leaseReader(source, attempt.signal);
  const config = configReader(source, attempt.signal);
  try {
    const [{ index, entries }, { entry }] = await Promise.all([leases.first(), config.first()]);
    yield { type: "list", revision: index, entries, config: entry?.value ?? null };
    const guard = guardServer(source, [leases, config], attempt.signal);
    const pending = new Map<Reader, Promise<News>>([
      [leases, leases.next()],
      [config, config.next()],
    ]);
    while (true) {
      const { reader, message } = await Promise.race([guard, ...pending.values()]);
      if (reader === null || message === null) return;
      yield message;
      pending.set(reader, reader.next());
    }
  } finally {
    attempt.end();
  }
}

/**
 * Looks after what a blocking read never tells: rejects when the server hangs, or has lost its leader, for then its
 * copy is old; ends when the index went back, because the servers were restored from a snapshot.
 */
async function guardServer(
  { kv, environment }: ConsulSource,
  readers: readonly Reader[],
  signal: AbortSignal,
): Promise<News> {
  let highest = 0n;
  while (true) {
    await environment.clock.sleep(CHECK_INTERVAL_MS, signal);
    for (const { provenIndex } of readers) if (provenIndex > highest) highest = provenIndex;
    const index = await kv.readIndex(CHECK_DEADLINE_MS, signal);
    if (index < highest) return { reader: null, message: null };
    highest = index;
  }
}

/** What a reader, or the guard, has to tell; no message when the index went back. */
interface News {
  readonly reader: Reader | null;
  readonly message: StoreMessage | null;
}

interface Reader {
  /** What the index of the whole prefix cannot be below. */
  readonly provenIndex: bigint;
  next(): Promise<News>;
}

interface Reply {
  readonly index: bigint;
}

interface ReaderOptions<R extends Reply> {
  readonly read: (blocking: Blocking | null) => Promise<R>;
  readonly changes: (before: R, after: R) => readonly StoreChange[];
  /** How many entries a reply held. */
  readonly size: (reply: R) => number;
  readonly environment: StoreEnvironment;
  readonly signal: AbortSignal;
}

/** Reads the same thing again and again, each time once it is newer than the last. */
class BlockingReader<R extends Reply> implements Reader {
  readonly #options: ReaderOptions<R>;
  readonly #backoff: Backoff;
  #last: R | null = null;
  /** When the next read may begin. */
  #nextReadMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReaderOptions<R>) {
    this.#options = options;
    this.#backoff = new Backoff({ ...IDLE_BACKOFF, random: options.environment.random });
  }

  /** Of what does not exist Consul answers the index of all keys there are, which proves nothing. */
  get provenIndex(): bigint {
    return this.#last && this.#options.size(this.#last) > 0 ? this.#last.index : 0n;
  }

  async first(): Promise<R> {
    this.#last = await this.#options.read(null);
    return this.#last;
  }

  async next(): Promise<News> {
    const { read, changes, size, environment, signal } = this.#options;
    const { clock } = environment;
    while (true) {
      await clock.sleep(Math.max(0, this.#nextReadMs - clock.monotonicMs()), signal);
      const before = this.#last ?? (await this.first());
      // An index of 0 would not block: Consul's own advice is to use 1 then.
      const index = before.index > 0n ? before.index : 1n;
      const after = await read({ index, waitSeconds: WAIT_SECONDS });
      if (after.index < before.index) return { reader: this, message: null };
      this.#last = after;
      const found = changes(before, after);
      if (found.length === 0) {
        this.#nextReadMs = clock.monotonicMs() + this.#backoff.nextMs();
        continue;
      }
      this.#backoff.reset();
      this.#nextReadMs = clock.monotonicMs() + size(after) * PAUSE_PER_ENTRY_MS;
      return { reader: this, message: { type: "changes", revision: after.index, changes: found } };
    }
  }
}

function leaseReader({ kv, layout, environment }: ConsulSource, signal: AbortSignal) {
  return new BlockingReader<FolderReply>({
    read: (blocking) => kv.readFolder(layout.subnets, layout.subnets, blocking, signal),
    changes: (before, after) => {
      const now = byKey(after.entries);
      return changedKeys(byKey(before.entries), now).map((key): StoreChange => {
        const entry = now.get(key);
        return entry ? { type: "put", entry } : { type: "delete", key, revision: after.index };
      });
    },
    size: ({ entries }) => entries.length,
    environment,
    signal,
  });
}

function configReader({ kv, layout, environment }: ConsulSource, signal: AbortSignal) {
  return new BlockingReader<KeyReply>({
    read: (blocking) => kv.readKey(layout.config, "", blocking, signal),
    changes: (before, { entry, index }) =>
      entry?.revision === before.entry?.revision
        ? []
        : [{ type: "config", value: entry?.value ?? null, revision: index }],
    size: ({ entry }) => (entry ? 1 : 0),
    environment,
    signal,
  });
}

function byKey(entries: readonly StoreEntry[]): ReadonlyMap<string, StoreEntry> {
  return new Map(entries.map((entry) => [entry.key, entry]));
}
