/**
 * Follows ranges in Consul by blocking reads, each of which returns the whole range again.
 *
 * Any server answers blocking reads from its own copy: thousands of hosts put no load on the leader, and its failure
 * interrupts nothing. A listing, first and after every gap, comes from the leader. Ends, or throws, whenever completeness
 * is not certain; the caller lists again.
 */

import { Backoff } from "../../clock.ts";
import { partOf } from "../../part-signal.ts";
import { changedKeys } from "../changed-keys.ts";
import type { EntryChange, StoreEntry } from "../contracts.ts";
import type { KeyMessage } from "../key-value.ts";
import type { StoreEnvironment } from "../options.ts";
import type { ConsulKv, RangeReply } from "./kv.ts";

/** How long a blocking read waits without a change. Longer means less traffic, and delays no change. */
const WAIT_SECONDS = 300;

/** The server is checked this often, and left when it does not answer within the deadline. */
const CHECK_INTERVAL_MS = 5_000;
const CHECK_DEADLINE_MS = 2_000;

/** After a list of 5,000 leases the next read waits 250 ms: many changes become few transfers. */
const PAUSE_PER_ENTRY_MS = 0.05;

/** Consul also answers without a change of ours, most often for keys that do not exist yet. */
const IDLE_BACKOFF = { baseMs: 20, maxMs: 1_000 };

export interface ConsulSource {
  readonly kv: ConsulKv;
  readonly ranges: readonly string[];
  readonly environment: StoreEnvironment;
}

/** Yields a listing, then changes. Returns when Consul's index went back, because nothing can be compared then. */
export async function* followConsul(source: ConsulSource, signal: AbortSignal): AsyncGenerator<KeyMessage> {
  const attempt = partOf(signal);
  const readers = source.ranges.map((range) => new BlockingReader(source, range, attempt.signal));
  try {
    const replies = await Promise.all(readers.map((reader) => reader.first()));
    const entries = replies.flatMap((reply) => reply.entries);
    yield { type: "list", revision: replies[0]?.index ?? 0n, entries };
    const guard = guardServer(source, readers, attempt.signal);
    const pending = new Map(readers.map((reader) => [reader, reader.next()]));
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
 * Detects what a blocking read does not: rejects when the server hangs, or has lost its leader, because its copy is old
 * then; ends when the index went back, because the servers were restored from a snapshot.
 */
async function guardServer(
  { kv, environment }: ConsulSource,
  readers: readonly BlockingReader[],
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

/** What a reader, or the guard, has to report; no message when the index went back. */
interface News {
  readonly reader: BlockingReader | null;
  readonly message: KeyMessage | null;
}

/** Reads a range again and again, each time once it is newer than the last reply. */
class BlockingReader {
  readonly #source: ConsulSource;
  readonly #range: string;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  #last: RangeReply | null = null;
  /** When the next read may begin. */
  #nextReadMs = Number.NEGATIVE_INFINITY;

  constructor(source: ConsulSource, range: string, signal: AbortSignal) {
    this.#source = source;
    this.#range = range;
    this.#signal = signal;
    this.#backoff = new Backoff({ ...IDLE_BACKOFF, random: source.environment.random });
  }

  /** What the index of the whole prefix cannot be below. For an absent range Consul returns the index of all keys. */
  get provenIndex(): bigint {
    return this.#last && this.#last.entries.length > 0 ? this.#last.index : 0n;
  }

  async first(): Promise<RangeReply> {
    this.#last = await this.#source.kv.read(this.#range, null, this.#signal);
    return this.#last;
  }

  async next(): Promise<News> {
    const { kv, environment } = this.#source;
    const { clock } = environment;
    while (true) {
      await clock.sleep(Math.max(0, this.#nextReadMs - clock.monotonicMs()), this.#signal);
      const before = this.#last ?? (await this.first());
      // An index of 0 would not block: Consul's documentation advises 1.
      const index = before.index > 0n ? before.index : 1n;
      const after = await kv.read(this.#range, { index, waitSeconds: WAIT_SECONDS }, this.#signal);
      if (after.index < before.index) return { reader: this, message: null };
      this.#last = after;
      const changes = changesBetween(before, after);
      if (changes.length === 0) {
        this.#nextReadMs = clock.monotonicMs() + this.#backoff.nextMs();
        continue;
      }
      this.#backoff.reset();
      this.#nextReadMs = clock.monotonicMs() + after.entries.length * PAUSE_PER_ENTRY_MS;
      return { reader: this, message: { type: "changes", revision: after.index, changes } };
    }
  }
}

function changesBetween(before: RangeReply, after: RangeReply): EntryChange[] {
  const now = byKey(after.entries);
  return changedKeys(byKey(before.entries), now).map((key) => {
    const entry = now.get(key);
    return entry ? { type: "put", entry } : { type: "delete", key, revision: after.index };
  });
}

function byKey(entries: readonly StoreEntry[]): ReadonlyMap<string, StoreEntry> {
  return new Map(entries.map((entry) => [entry.key, entry]));
}
