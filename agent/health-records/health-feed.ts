/**
 * Follows the health records of all hosts for as long as it runs. One that cannot be read counts as absent.
 */

import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import type { EntryChange, RecordMessage, Records, StoreEntry } from "../../ipam/stores/contracts.ts";
import { decodeHealth, HEALTH_FOLDER, type HealthReport, parseHealthRecordName } from "./record.ts";

/** Four times the hosts of the largest network. */
const MOST_RECORDS = 20_000;
/** Of all records: fifty times what the page shows. Of a record that has more, paths are only counted. */
const MOST_PATHS = 100_000;

/** A record without its text, which may be large: enough to delete it. */
export interface KeptRecord {
  readonly nodeId: string;
  readonly entry: StoreEntry;
  /** Null when it cannot be read. */
  readonly report: HealthReport | null;
}

export class HealthFeed {
  readonly #records: Records;
  #kept = new Map<string, KeptRecord>();
  #faults = new Map<string, string>();
  /** In the reports of `#kept`. */
  #paths = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  /** By node id. */
  get records(): ReadonlyMap<string, KeptRecord> {
    return this.#kept;
  }

  /** One sentence about records that cannot be read; null when all can. */
  get problem(): string | null {
    const [first] = this.#faults;
    if (first === undefined) return null;
    const [key, reason] = first;
    const more = this.#faults.size === 1 ? "" : ` (and ${this.#faults.size - 1} more)`;
    return `health record ${escapeText(key, 80)} is ignored: ${reason}${more}; delete it`;
  }

  /** Follows the store until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const message of this.#records.watch(HEALTH_FOLDER, signal)) this.#take(message);
  }

  #take(message: RecordMessage): void {
    if (message.type === "list") {
      this.#kept = new Map();
      this.#faults = new Map();
      this.#paths = 0;
      for (const entry of message.entries) this.#put(entry);
    } else for (const change of message.changes) this.#apply(change);
  }

  #apply(change: EntryChange): void {
    if (change.type === "put") this.#put(change.entry);
    else {
      this.#faults.delete(change.key);
      const nodeId = parseHealthRecordName(change.key) ?? "";
      this.#paths -= this.#pathsOf(nodeId);
      this.#kept.delete(nodeId);
    }
  }

  #put(entry: StoreEntry): void {
    this.#faults.delete(entry.key);
    const nodeId = parseHealthRecordName(entry.key);
    const isFull = this.#kept.size >= MOST_RECORDS && !this.#kept.has(nodeId ?? "");
    if (nodeId === null) this.#reject(entry.key, "its name is not a node id");
    else if (isFull) this.#reject(entry.key, `there are more than ${MOST_RECORDS}`);
    else this.#keep(nodeId, entry);
  }

  #keep(nodeId: string, entry: StoreEntry): void {
    this.#paths -= this.#pathsOf(nodeId);
    const report = this.#bounded(this.#decode(entry));
    this.#kept.set(nodeId, { nodeId, entry: { ...entry, value: "" }, report });
    this.#paths += this.#pathsOf(nodeId);
  }

  #pathsOf(nodeId: string): number {
    return this.#kept.get(nodeId)?.report?.bad.length ?? 0;
  }

  #bounded(report: HealthReport | null): HealthReport | null {
    if (report === null || this.#paths + report.bad.length <= MOST_PATHS) return report;
    return { bad: [], others: report.bad.length + report.others };
  }

  #decode({ key, value }: StoreEntry): HealthReport | null {
    try {
      return decodeHealth(value);
    } catch (error) {
      if (!(error instanceof TulleError)) throw error;
      this.#reject(key, errorMessage(error));
      return null;
    }
  }

  #reject(key: string, reason: string): void {
    if (this.#faults.size < MOST_RECORDS) this.#faults.set(key, reason);
  }
}
