/** Which of the host's resolvers were silent of late. */

import type { Clock } from "../../ipam/clock.ts";
import type { Upstream } from "./resolv-conf.ts";

export class SilentServers {
  readonly #clock: Pick<Clock, "monotonicMs">;
  readonly #forMs: number;
  readonly #untilMs = new Map<string, number>();

  /** A server counts as silent for `forMs`, or until it answers. */
  constructor(clock: Pick<Clock, "monotonicMs">, forMs: number) {
    this.#clock = clock;
    this.#forMs = forMs;
  }

  has({ host }: Upstream): boolean {
    const untilMs = this.#untilMs.get(host);
    return untilMs !== undefined && untilMs > this.#clock.monotonicMs();
  }

  add({ host }: Upstream): void {
    const nowMs = this.#clock.monotonicMs();
    // Bounded by what resolv.conf ever named; those of long ago go.
    for (const [each, untilMs] of this.#untilMs) if (untilMs <= nowMs) this.#untilMs.delete(each);
    this.#untilMs.set(host, nowMs + this.#forMs);
  }

  delete({ host }: Upstream): void {
    this.#untilMs.delete(host);
  }
}
