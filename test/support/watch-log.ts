/**
 * A watcher under observation: the leases as its messages tell them, folded as the contract says, and the lines
 * that it logged.
 */

import type { Logger } from "../../ipam/log.ts";
import type { NetworkStore, StoreMessage } from "../../ipam/stores/contracts.ts";

export class WatchLog {
  readonly messages: StoreMessage[] = [];
  readonly #stop = new AbortController();
  readonly #leases = new Map<string, string>();
  readonly #done: Promise<void>;
  #config: string | null = null;
  #failure: unknown = null;

  constructor(store: Pick<NetworkStore, "feed">) {
    this.#done = this.#run(store).catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Key and value of each lease, in order of the keys. */
  get leases(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#leases].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  get config(): string | null {
    return this.#config;
  }

  /** How often everything was listed. */
  get listings(): number {
    return this.messages.filter((message) => message.type === "list").length;
  }

  /** Ends the watch. Throws what ended it before. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
    if (this.#failure !== null) throw this.#failure;
  }

  async #run(store: Pick<NetworkStore, "feed">): Promise<void> {
    for await (const message of store.feed.watch(this.#stop.signal)) {
      this.messages.push(message);
      this.#fold(message);
    }
  }

  #fold(message: StoreMessage): void {
    if (message.type === "list") {
      this.#leases.clear();
      for (const entry of message.entries) this.#leases.set(entry.key, entry.value);
      this.#config = message.config;
      return;
    }
    for (const change of message.changes) {
      if (change.type === "config") this.#config = change.value;
      else if (change.type === "put") this.#leases.set(change.entry.key, change.entry.value);
      else this.#leases.delete(change.key);
    }
  }
}

/** A log that keeps its lines above debug. */
export class KeptLog implements Logger {
  readonly lines: string[] = [];

  debug(): void {}

  info(message: string): void {
    this.lines.push(`info ${message}`);
  }

  warn(message: string): void {
    this.lines.push(`warn ${message}`);
  }

  error(message: string): void {
    this.lines.push(`error ${message}`);
  }
}
