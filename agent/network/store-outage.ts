/** Keeps since when and why the store cannot be followed. */

import { formatDuration } from "../../ipam/duration.ts";
import type { StoreHealth } from "../../ipam/stores/contracts.ts";

export class StoreOutage {
  #outage: { readonly sinceMs: number; readonly reason: string } | null = null;

  /** `nowMs` is monotonic. The reason is the newest one, the beginning that of the first failure. */
  note(health: StoreHealth, nowMs: number): void {
    this.#outage = health.isFollowed
      ? null
      : { sinceMs: this.#outage?.sinceMs ?? nowMs, reason: health.reason };
  }

  /** The newest reason; null while the store can be followed. */
  get reason(): string | null {
    return this.#outage?.reason ?? null;
  }

  /** One sentence; null while the store can be followed. */
  problem(nowMs: number): string | null {
    if (this.#outage === null) return null;
    const { sinceMs, reason } = this.#outage;
    const duration = formatDuration((nowMs - sinceMs) / 1000);
    return `the store has been out of reach for ${duration}; traffic continues, new hosts are not learned: ${reason}`;
  }
}
