/** Remembers since when the store cannot be followed, and says it to a person. Decides nothing. */

import { formatDuration } from "../../ipam/duration.ts";
import type { StoreHealth } from "../../ipam/stores/store.ts";

export class StoreOutage {
  #outage: { readonly sinceMs: number; readonly reason: string } | null = null;

  /** `nowMs` is monotonic. The reason is the newest one, the beginning that of the first failure. */
  note(health: StoreHealth, nowMs: number): void {
    this.#outage = health.isFollowed
      ? null
      : { sinceMs: this.#outage?.sinceMs ?? nowMs, reason: health.reason };
  }

  /** One sentence; null while the store can be followed. */
  problem(nowMs: number): string | null {
    if (this.#outage === null) return null;
    const { sinceMs, reason } = this.#outage;
    const duration = formatDuration((nowMs - sinceMs) / 1000);
    return `the store has been out of reach for ${duration}; traffic goes on, hosts that come are not seen: ${reason}`;
  }
}
