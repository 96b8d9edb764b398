/**
 * The last changes of state: what the log says at level info and above, kept over a restart for `tulle events`.
 *
 * In memory, and some seconds later in <state-dir>/events.jsonl, one JSON object per line as the log writes them: secrets
 * are redacted and values bounded there already.
 */

import { join } from "node:path";
import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import type { Faults } from "../../ipam/faults.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";

/** More than these are forgotten, the oldest first. */
export const MOST_EVENTS = 2_000;
/** Changes come in bursts; one write is enough for each. */
const WRITE_DELAY_MS = 3_000;
/** After a write that failed, as on a full disk. */
const RETRY_MS = 30_000;
/** Of the daemon, for a person: a file that could not be read is over once it is written. */
const PART = "keeping events";
/** What 2,000 lines may have: far more than they do. */
const MOST_BYTES = 16 * 1024 * 1024;

export class EventLog {
  #lines: string[] = [];
  #count = 0;
  #isDirty = false;
  #sleep: Sleep | null = null;

  /** Adds a line; the oldest goes. */
  add(line: string): void {
    this.#lines.push(line);
    this.#count += 1;
    // In blocks, since each removal moves all others.
    if (this.#lines.length > 2 * MOST_EVENTS) this.#lines = this.#lines.slice(-MOST_EVENTS);
    this.#isDirty = true;
    this.#sleep?.wake();
  }

  /** How many were added since the start: whether there are new ones. */
  get count(): number {
    return this.#count;
  }

  /** The newest `most`, the oldest first. */
  latest(most: number): readonly JsonObject[] {
    return decodeEvents(this.#lines.slice(-most));
  }

  /** The oldest first. */
  get events(): readonly JsonObject[] {
    return decodeEvents(this.#lines.slice(-MOST_EVENTS));
  }

  /**
   * Takes what a former run kept, and keeps the events until the signal fires. A file that cannot be read or written is
   * a fault that is reported and retried; events are then kept in memory only.
   */
  async keep(stateDir: string, clock: Clock, faults: Faults, signal: AbortSignal): Promise<void> {
    const path = eventsPath(stateDir);
    try {
      this.#lines = [...readLines(path), ...this.#lines];
    } catch (error) {
      faults.failed(PART, error);
    }
    const sleep = new Sleep(clock);
    this.#sleep = sleep;
    let delayMs = WRITE_DELAY_MS;
    while (!signal.aborted) {
      if (!this.#isDirty) await sleep.for(LONG_MS, signal);
      await pause(clock, delayMs, signal);
      delayMs = (await this.#write(path, faults)) ? WRITE_DELAY_MS : RETRY_MS;
    }
  }

  /** Whether nothing is left to write. */
  async #write(path: string, faults: Faults): Promise<boolean> {
    if (!this.#isDirty) return true;
    this.#isDirty = false;
    const text = this.#lines.slice(-MOST_EVENTS).map((line) => `${line}\n`);
    try {
      await replaceFile(path, text.join(""), { mode: 0o600 });
      faults.succeeded(PART);
      return true;
    } catch (error) {
      this.#isDirty = true;
      faults.failed(PART, error);
      return false;
    }
  }
}

/** Until it is woken. */
const LONG_MS = 3_600_000;

/** What the daemon kept, for a host on which none runs. Empty when it kept nothing. */
export function readEvents(stateDir: string): readonly JsonObject[] {
  return decodeEvents(readLines(eventsPath(stateDir)));
}

function eventsPath(stateDir: string): string {
  return join(stateDir, "events.jsonl");
}

function readLines(path: string): readonly string[] {
  const text = readOwnFile(path, MOST_BYTES) ?? "";
  return text.split("\n").filter((line) => line !== "");
}

/** A line that was cut or is not of ours is left out. */
function decodeEvents(lines: readonly string[]): readonly JsonObject[] {
  return lines.flatMap((line) => {
    const event = parseLine(line);
    return isJsonObject(event) && typeof event.message === "string" ? [event] : [];
  });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
