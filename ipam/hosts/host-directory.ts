/**
 * Who the hosts of a network are, for people: follows the profiles of all hosts, keeps this host's own in the store, and
 * removes those of hosts that have left.
 *
 * No traffic depends on it. A record is written when it differs, so that a restart with the same facts writes nothing; it
 * has no time to live, and one is removed only when its host is proven to be gone.
 */

import { Backoff, type Clock, pause, Sleep } from "../clock.ts";
import { ConflictError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import { goneAmong } from "../named-networks/gone-hosts.ts";
import type { HostId } from "../named-networks/named-network.ts";
import { removeRecords } from "../named-networks/record-removal.ts";
import { isOutcomeUnknown } from "../stores/answers.ts";
import type { NetworkStore } from "../stores/contracts.ts";
import { encodeProfile, type HostProfile, PROFILES_FOLDER, profileRecord } from "./host-profile.ts";
import { ProfileTable } from "./profile-table.ts";

export interface HostDirectoryOptions {
  readonly store: Pick<NetworkStore, "feed" | "records">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly host: HostId;
  readonly profile: HostProfile;
  /** Node ids in the leases of peers, as far as they can be read. */
  readonly present: () => ReadonlySet<string>;
}

/** Of a large network not all hosts begin to read in the same moment: this long for each peer, up to the longest. */
const SPREAD_MS = 5;
const LONGEST_SPREAD_MS = 30_000;
/** One that another host overwrites all the time, because it is a copy of this one, must not load the store. */
const WRITE_MS = { baseMs: 200, maxMs: 3_600_000 };
const LOOK_MS = 5 * 60_000;
/** Beyond the life of a lease. Hosts do not remove at the same time: by up to a quarter more. */
const UNSEEN_MS = 24 * 3_600_000;

export class HostDirectory {
  readonly #options: HostDirectoryOptions;
  readonly #table = new ProfileTable();
  readonly #writing: Sleep;
  readonly #failures: FailureSeries;
  /** Since when hosts with a record have no lease, on the clock. */
  readonly #unseen = new Map<HostId, number>();
  readonly #unseenMs: number;
  #isListed = false;

  constructor(options: HostDirectoryOptions) {
    this.#options = options;
    this.#writing = new Sleep(options.clock);
    this.#unseenMs = UNSEEN_MS * (1 + options.random() / 4);
    this.#failures = new FailureSeries(
      options.logger,
      "this host's name could not be recorded",
      "this host's name is recorded",
    );
  }

  /** Null for a host without a record, such as one that runs flanneld. */
  profileOf(nodeId: string | null): HostProfile | null {
    return this.#table.profileOf(nodeId);
  }

  /** One sentence about records that cannot be read; null when there are none. */
  get problem(): string | null {
    return this.#table.problem;
  }

  /** Runs until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, present } = this.#options;
    const spreadMs = Math.min(LONGEST_SPREAD_MS, present().size * SPREAD_MS);
    if (spreadMs > 0) await pause(clock, random() * spreadMs, signal);
    await Promise.all([this.#follow(signal), this.#publish(signal), this.#removeGone(signal)]);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const message of this.#options.store.records.watch(PROFILES_FOLDER, signal)) {
      this.#table.apply(message);
      this.#isListed = true;
      if (this.#isStale) this.#writing.wake();
    }
  }

  get #isStale(): boolean {
    const { host, profile } = this.#options;
    return this.#isListed && this.#table.stored.get(host)?.entry.value !== encodeProfile(profile);
  }

  async #publish(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const backoff = new Backoff({ ...WRITE_MS, random });
    while (!signal.aborted) {
      if (!this.#isStale) {
        const sinceMs = clock.monotonicMs();
        await this.#writing.for(LOOK_MS, signal);
        if (clock.monotonicMs() - sinceMs >= LOOK_MS) backoff.reset();
        continue;
      }
      await this.#write(signal);
      // What was written comes back by the watch; the pause grows when it is not there each time.
      await pause(clock, backoff.nextMs(), signal);
    }
  }

  async #write(signal: AbortSignal): Promise<void> {
    const { store, host, profile } = this.#options;
    const name = profileRecord(host);
    const value = encodeProfile(profile);
    try {
      const found = await store.records.read(name, signal);
      if (found?.value !== value) await store.records.write(name, value, found, signal);
      this.#failures.succeeded();
    } catch (error) {
      if (signal.aborted || error instanceof ConflictError || isOutcomeUnknown(error)) return;
      this.#failures.failed(error);
    }
  }

  async #removeGone(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    const failures = new FailureSeries(
      logger,
      "records of hosts that left could not be removed",
      "records of hosts that left are removed",
    );
    while (!signal.aborted) {
      try {
        await this.#removeUnseen(this.#longUnseen(), signal);
        failures.succeeded();
      } catch (error) {
        if (signal.aborted) return;
        failures.failed(error);
      }
      await pause(clock, LOOK_MS, signal);
    }
  }

  /** Hosts with a record whose lease has not been seen for long. */
  #longUnseen(): readonly HostId[] {
    const { clock, host, present } = this.#options;
    const nowMs = clock.monotonicMs();
    const here = present();
    for (const id of [...this.#unseen.keys()]) if (!this.#table.stored.has(id)) this.#unseen.delete(id);
    for (const id of this.#table.stored.keys()) {
      if (id === host || here.has(id)) this.#unseen.delete(id);
      else if (!this.#unseen.has(id)) this.#unseen.set(id, nowMs);
    }
    return [...this.#unseen].flatMap(([id, sinceMs]) => (nowMs - sinceMs >= this.#unseenMs ? [id] : []));
  }

  /** Removes the records of those that have no lease now. Throws StoreError. */
  async #removeUnseen(hosts: readonly HostId[], signal: AbortSignal): Promise<void> {
    if (hosts.length === 0) return;
    const { store, logger } = this.#options;
    const gone = await goneAmong(store, hosts, signal);
    // One that is there after all is looked at again when it has been unseen for as long.
    for (const host of hosts) this.#unseen.delete(host);
    const entries = [...gone].flatMap((host) => this.#table.stored.get(host)?.entry ?? []);
    const removed = await removeRecords(store.records, entries, signal);
    if (removed > 0) logger.info("records of hosts that left are removed", { records: removed });
  }
}

/** Who hosts are, by the node ids in their leases. */
export type HostNames = Pick<ProfileTable, "profileOf" | "problem">;

/** All profiles at one moment, for a program that only shows them. Records that cannot be read are left out. Throws StoreError. */
export async function readProfiles(
  records: NetworkStore["records"],
  signal: AbortSignal,
): Promise<HostNames> {
  const table = new ProfileTable();
  table.apply({ type: "list", revision: 0n, entries: await records.list(PROFILES_FOLDER, signal) });
  return table;
}
