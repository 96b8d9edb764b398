/**
 * Those who watch the page: each gets the whole state once and then what changes, as server-sent events.
 *
 * One text is made for all. A reader that has not taken the last one gets none until it has, and then the whole state:
 * nothing is queued. Writing to many is spread over turns of the event loop.
 */

import type { ServerResponse } from "node:http";
import type { Clock } from "../../ipam/clock.ts";

/** A reader that takes nothing for this long is disconnected; it may connect again. */
const STALLED_MS = 60_000;
/** A sign in a quiet stream, so that both ends notice a dead connection. Scripts of a page see no comments. */
const QUIET_MS = 5_000;
/** Written to in one turn of the event loop. */
const PER_TURN = 50;

interface Watcher {
  readonly response: ServerResponse;
  needsAll: boolean;
  /** When the last text had been taken, as far as is known. */
  takenMs: number;
  writtenMs: number;
}

/** Events for those that need another one than the update; made when they are needed. */
export interface OtherEvents {
  /** The whole state. */
  readonly all: () => Buffer;
  /** That nothing has changed. */
  readonly sign: () => Buffer;
}

/** An event of a stream. `json` has no line break. */
export function eventOf(name: string, json: string): Buffer {
  return Buffer.from(`event: ${name}\ndata: ${json}\n\n`);
}

export class Watchers {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #all = new Set<Watcher>();
  #isWriting = false;

  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
  }

  get isFull(): boolean {
    return this.#all.size >= this.#most;
  }

  get count(): number {
    return this.#all.size;
  }

  /** Takes an answer whose head is written, and writes the whole state to it. False when there are too many. */
  add(response: ServerResponse, all: Buffer): boolean {
    if (this.isFull) return false;
    const nowMs = this.#clock.monotonicMs();
    const watcher: Watcher = { response, needsAll: false, takenMs: nowMs, writtenMs: nowMs };
    this.#all.add(watcher);
    response.once("close", () => this.#all.delete(watcher));
    response.write(all);
    return true;
  }

  /** Writes what changed, null for nothing. Skipped while the last call still writes: then everyone gets the whole state. */
  async publish(update: Buffer | null, others: OtherEvents): Promise<void> {
    if (this.#isWriting) {
      if (update !== null) for (const watcher of this.#all) watcher.needsAll = true;
      return;
    }
    this.#isWriting = true;
    try {
      let count = 0;
      for (const watcher of [...this.#all]) {
        this.#write(watcher, update, others);
        if (++count % PER_TURN === 0) await new Promise(setImmediate);
      }
    } finally {
      this.#isWriting = false;
    }
  }

  #write(watcher: Watcher, update: Buffer | null, { all, sign }: OtherEvents): void {
    const { response } = watcher;
    const nowMs = this.#clock.monotonicMs();
    if (response.writableLength > 0) {
      if (update !== null) watcher.needsAll = true;
      if (nowMs - watcher.takenMs > STALLED_MS) response.destroy();
      return;
    }
    watcher.takenMs = nowMs;
    const isQuiet = nowMs - watcher.writtenMs >= QUIET_MS;
    const text = watcher.needsAll ? all() : (update ?? (isQuiet ? sign() : null));
    if (text === null || response.destroyed) return;
    watcher.needsAll = false;
    watcher.writtenMs = nowMs;
    response.write(text);
  }

  close(): void {
    for (const { response } of this.#all) response.destroy();
  }
}
