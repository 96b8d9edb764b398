/**
 * The peers that this host knew last, kept over a restart: a store that was emptied meanwhile, or damaged, removes no
 * more peers than it does while tulled runs.
 *
 * In <state-dir>/peers.json, for other networks than the first in peers-<name>.json. Times are those of the kernel's
 * monotonic clock; after a reboot they mean nothing, and the hold-down bounds the stay.
 */

import { join } from "node:path";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { removeIfPresent } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { type HeldPeer, isMass, type KnownPeer } from "../../ipam/leases/departures.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { decodeEntry, formatLeaseValue } from "../../ipam/leases/lease-codec.ts";
import type { PeerTable } from "../../ipam/leases/peer-table.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { StoreEntry } from "../../ipam/stores/contracts.ts";
import { type NetworkSettings, ownedName } from "./network-settings.ts";
import { readFolder } from "./ownership.ts";

/** A lease takes about 400 bytes. */
const MAX_BYTES = 1 << 25;
/**
 * The file is written this long after a change, and at once when peers are held that it does not list as held: it may have
 * megabytes. Writing takes no more than a thousandth of the time.
 */
const SAVE_DELAY_MS = 10_000;
const SAVE_PAUSE = 1000;

/** What there is to record. */
export type RecordedTable = Pick<PeerTable, "peers" | "heldPeers" | "version">;

export interface PeerRecordOptions extends Pick<NetworkSettings, "stateDir" | "name"> {
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PeerRecord {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #change: Sleep;
  readonly #saving: Sleep;
  #table: RecordedTable | null = null;
  /** Of the table that the file has; null where that is not known. */
  #savedVersion: number | null = null;
  /** Those that the file lists as held, or will when it is written next. */
  #held: ReadonlyMap<LeaseKey, HeldPeer> = new Map();
  #isUrgent = false;

  constructor({ stateDir, name, clock, logger }: PeerRecordOptions) {
    this.#path = join(stateDir, `${ownedName("peers", name)}.json`);
    this.#clock = clock;
    this.#logger = logger;
    this.#change = new Sleep(clock);
    this.#saving = new Sleep(clock);
  }

  /**
   * What a former run knew beyond the listing: peers with another value there, for the listing's may be damaged; those
   * that it held; and those that vanished since, if they are so many that the store may be at fault. A damaged record is
   * logged and names none.
   */
  read(listing: readonly StoreEntry[]): readonly KnownPeer[] {
    try {
      const text = readOwnFile(this.#path, MAX_BYTES);
      return text === null ? [] : knownBeyond(listing, parseRecord(text));
    } catch (error) {
      this.#logger.warn("record of peers is ignored", { path: this.#path, error: errorMessage(error) });
      return [];
    }
  }

  /** To be called after each change; cheap where there is none. */
  note(table: RecordedTable): void {
    this.#table = table;
    const { heldPeers } = table;
    if (heldPeers.some((peer) => !this.#isRecordedAsHeld(peer))) {
      this.#held = new Map(heldPeers.map((peer) => [peer.lease.key, peer]));
      this.#isUrgent = true;
      this.#saving.wake();
    }
    if (this.#isUnsaved) this.#change.wake();
  }

  /** Writes the file after changes, and a last time when `signal` fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const failures = new FailureSeries(
      this.#logger,
      "known peers cannot be recorded; after a restart, a store that lost its leases would remove them",
      "known peers are recorded",
    );
    let pauseMs = SAVE_DELAY_MS;
    do {
      if (!this.#isUnsaved) await this.#change.for(Number.POSITIVE_INFINITY, signal);
      if (!this.#isUrgent) await this.#saving.for(pauseMs, signal);
      const startMs = this.#clock.monotonicMs();
      await this.#save(failures);
      pauseMs = Math.max(SAVE_DELAY_MS, (this.#clock.monotonicMs() - startMs) * SAVE_PAUSE);
    } while (!signal.aborted);
    await this.#save(failures);
  }

  get #isUnsaved(): boolean {
    return this.#isUrgent || (this.#table !== null && this.#table.version !== this.#savedVersion);
  }

  /** False also for one that was back meanwhile, maybe with another value. */
  #isRecordedAsHeld({ lease, untilMs }: HeldPeer): boolean {
    const recorded = this.#held.get(lease.key);
    return recorded?.lease === lease && recorded.untilMs === untilMs;
  }

  async #save(failures: FailureSeries): Promise<void> {
    const table = this.#table;
    if (table === null || !this.#isUnsaved) return;
    const { version } = table;
    this.#isUrgent = false;
    try {
      if (table.peers.size === 0) removeIfPresent(this.#path);
      else await replaceFile(this.#path, formatRecord(table), { mode: 0o600 });
      this.#savedVersion = version;
      failures.succeeded();
    } catch (error) {
      this.#savedVersion = null;
      failures.failed(error, { path: this.#path });
    }
  }
}

/** A peer as the file has it, with its lease unread. */
interface RecordedPeer {
  readonly key: LeaseKey;
  readonly revision: string;
  readonly untilMs: number | null;
  readonly fields: JsonObject;
}

/** The records of all networks of this state directory: their paths. */
export function peerRecordsIn(stateDir: string): readonly string[] {
  const names = readFolder(stateDir).filter((name) => /^peers(-.+)?\.json$/.test(name));
  return names.map((name) => join(stateDir, name));
}

function knownBeyond(
  listing: readonly StoreEntry[],
  recorded: readonly RecordedPeer[],
): readonly KnownPeer[] {
  const listed = new Map(listing.map(({ key, revision }) => [key, String(revision)]));
  const unheld = recorded.filter(({ untilMs }) => untilMs === null);
  const vanished = unheld.filter(({ key }) => !listed.has(key));
  const isHolding = isMass(vanished.length, unheld.length);
  return recorded.flatMap(({ key, revision, untilMs, fields }): readonly KnownPeer[] => {
    if (listed.get(key) === revision) return [];
    const lease = parseLease(fields);
    if (listed.has(key)) return [{ lease, untilMs: null }];
    const isHeld = untilMs !== null || isHolding;
    return isHeld ? [{ lease, untilMs: untilMs ?? Number.POSITIVE_INFINITY }] : [];
  });
}

function formatRecord({ peers, heldPeers }: RecordedTable): string {
  const held = new Map(heldPeers.map(({ lease, untilMs }) => [lease.key, untilMs]));
  // One that its host gave up is removed as soon as it vanishes.
  const staying = [...peers.values()].filter(({ isLeaving }) => !isLeaving);
  const recorded = staying.map(({ key, attrs, revision, createRevision, storeLeaseId }) => ({
    key,
    value: formatLeaseValue(attrs),
    revision: String(revision),
    createRevision: String(createRevision),
    storeLeaseId,
    untilMs: held.get(key) ?? null,
  }));
  return `${JSON.stringify({ peers: recorded })}\n`;
}

function parseRecord(text: string): readonly RecordedPeer[] {
  const root: unknown = JSON.parse(text);
  if (!isJsonObject(root) || !Array.isArray(root.peers)) throw new Error("it holds no list of peers");
  return root.peers.map((fields) => {
    if (!isJsonObject(fields)) throw new Error("a peer is not an object");
    const { key, revision, untilMs } = fields;
    if (untilMs !== null && typeof untilMs !== "number") throw new Error(`untilMs of ${key} is not a number`);
    return { key: String(key), revision: String(revision), untilMs, fields };
  });
}

function parseLease({ key, value, revision, createRevision, storeLeaseId }: JsonObject): Lease {
  return decodeEntry({
    key: String(key),
    value: String(value),
    revision: BigInt(String(revision)),
    createRevision: BigInt(String(createRevision)),
    storeLeaseId: storeLeaseId === null ? null : String(storeLeaseId),
  });
}
