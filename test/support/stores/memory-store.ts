/** A store in a variable: the fake that passes the stores' conformance suite, and serves the unit tests. */

import type { Clock } from "../../../ipam/clock.ts";
import { partOf } from "../../../ipam/part-signal.ts";
import type { StoreConnection } from "../../../ipam/stores/contracts.ts";
import { embeddedNetwork, type KvHolder } from "../../../ipam/stores/file/key-value.ts";
import { emptyState, type KvState } from "../../../ipam/stores/file/kv-state.ts";
import type { StoreEnvironment } from "../../../ipam/stores/options.ts";

/** State that any number of connections in this process share. */
export class MemoryHolder implements KvHolder {
  readonly #clock: Clock;
  #state: KvState = emptyState;
  #waiters = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async read(signal: AbortSignal): Promise<KvState> {
    signal.throwIfAborted();
    return this.#state;
  }

  async update(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState> {
    signal.throwIfAborted();
    const next = change(this.#state);
    if (next !== this.#state) this.#set(next);
    return next;
  }

  async waitForChange(seen: KvState, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (this.#state !== seen) return;
    const timer = partOf(signal);
    const changed = new Promise<void>((resolve) => {
      this.#waiters.add(resolve);
      timer.signal.addEventListener("abort", () => this.#waiters.delete(resolve));
    });
    try {
      await Promise.race([changed, this.#clock.sleep(timeoutMs, timer.signal)]);
    } finally {
      timer.end();
    }
  }

  #set(state: KvState): void {
    this.#state = state;
    const waiters = this.#waiters;
    this.#waiters = new Set();
    for (const wake of waiters) wake();
  }
}

/** A connection to the state in `holder`. */
export function openMemoryStore(holder: MemoryHolder, environment: StoreEnvironment): StoreConnection {
  return {
    description: "memory",
    remoteHost: null,
    remoteHosts: [],
    network: (prefix) => embeddedNetwork("memory", prefix, holder, environment),
    redial: () => {},
    close: async () => {},
  };
}
