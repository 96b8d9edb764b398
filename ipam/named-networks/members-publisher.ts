/**
 * Writes this host's members to the store, one record for each network: the latest state wins, and what fails is tried
 * again until it succeeds. Nothing else writes these records.
 */

import { Backoff, pause } from "../clock.ts";
import { ConflictError } from "../errors.ts";
import { FailureSeries } from "../log.ts";
import { fired } from "../part-signal.ts";
import type { StoreEntry } from "../stores/contracts.ts";
import type { PublisherOptions } from "./host-publisher.ts";
import { encodeFitting } from "./member-codec.ts";
import type { HostId, Member, NetworkId } from "./named-network.ts";
import { membersRecord } from "./record-names.ts";

const RETRY_MS = { baseMs: 50, maxMs: 5_000 };
/** From one write to the next: each host decodes a large record again. 1 MB takes about 10 ms there. */
const PAUSE_MS_PER_CHARACTER = 1e-4;

export interface MembersPublisherOptions extends PublisherOptions {
  readonly host: HostId;
  /** This host's members of a network now; empty for none. */
  readonly membersOf: (network: NetworkId) => readonly Member[];
  /** Called with the record of a network as it is in the store; null when it is absent. */
  readonly onStored: (network: NetworkId, entry: StoreEntry | null) => void;
}

export class MembersPublisher {
  readonly #options: MembersPublisherOptions;
  readonly #failures: FailureSeries;
  /** As last read, written or seen; undefined when it must be read. */
  readonly #stored = new Map<NetworkId, StoreEntry | null>();
  readonly #dirty = new Set<NetworkId>();
  /** How many members of a network its record had no room for. */
  readonly #leftOut = new Map<NetworkId, number>();
  readonly #working = new Map<NetworkId, Promise<void>>();
  #signal: AbortSignal | null = null;

  constructor(options: MembersPublisherOptions) {
    this.#options = options;
    this.#failures = new FailureSeries(
      options.logger,
      "members of a network could not be written",
      "members of networks are written",
    );
  }

  /** Networks whose record is not known to be up to date. */
  get pending(): readonly NetworkId[] {
    return [...new Set([...this.#dirty, ...this.#working.keys()])];
  }

  /** By network: how many members its record has no room for. A record that no host could read would lose all. */
  get leftOut(): ReadonlyMap<NetworkId, number> {
    return this.#leftOut;
  }

  /** Begins to write, and returns when the signal has fired and no request is under way. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const network of [...this.#dirty]) this.#start(network);
    await fired(signal);
    await Promise.all(this.#working.values());
  }

  /** The members of the network changed, or its record may be out of date. */
  publish(network: NetworkId): void {
    this.#dirty.add(network);
    this.#start(network);
  }

  /**
   * The record as the watch shows it; null when it is absent. `revision` is that of a change, null for a listing. What
   * is older than the last write is the echo of an earlier one.
   */
  observe(network: NetworkId, entry: StoreEntry | null, revision: bigint | null): void {
    const known = this.#stored.get(network);
    if (known?.revision === entry?.revision && known !== undefined) return;
    if (known && revision !== null && revision < known.revision) return;
    if (this.#working.has(network)) return;
    this.#remember(network, entry);
    if ((entry?.value ?? null) !== this.#wanted(network)) this.publish(network);
  }

  #start(network: NetworkId): void {
    const signal = this.#signal;
    if (signal === null || signal.aborted || this.#working.has(network)) return;
    const work = this.#work(network, signal).finally(() => this.#working.delete(network));
    this.#working.set(network, work);
  }

  async #work(network: NetworkId, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const backoff = new Backoff({ ...RETRY_MS, random });
    // What changes in the same turn is one write.
    await Promise.resolve();
    while (this.#dirty.delete(network) && !signal.aborted) {
      try {
        await this.#write(network, signal);
        this.#failures.succeeded();
        backoff.reset();
        const pauseMs = (this.#stored.get(network)?.value.length ?? 0) * PAUSE_MS_PER_CHARACTER;
        if (pauseMs >= 1) await pause(clock, pauseMs, signal);
      } catch (error) {
        this.#dirty.add(network);
        this.#stored.delete(network);
        if (signal.aborted) return;
        if (!(error instanceof ConflictError)) this.#failures.failed(error, { network });
        await pause(clock, backoff.nextMs(), signal);
      }
    }
  }

  async #write(network: NetworkId, signal: AbortSignal): Promise<void> {
    const { records, host } = this.#options;
    const name = membersRecord(network, host);
    const known = this.#stored.get(network);
    const stored = known === undefined ? await records.read(name, signal) : known;
    const text = this.#wanted(network);
    if (text === null) {
      if (stored !== null) await records.remove(stored, signal);
      this.#remember(network, null);
    } else if (stored?.value === text) this.#remember(network, stored);
    else this.#remember(network, await records.write(name, text, stored, signal));
  }

  #remember(network: NetworkId, entry: StoreEntry | null): void {
    this.#stored.set(network, entry);
    this.#options.onStored(network, entry);
  }

  #wanted(network: NetworkId): string | null {
    const members = this.#options.membersOf(network);
    const { text, count } = encodeFitting(members);
    if (count < members.length) this.#leftOut.set(network, members.length - count);
    else this.#leftOut.delete(network);
    return members.length === 0 ? null : text;
  }
}
