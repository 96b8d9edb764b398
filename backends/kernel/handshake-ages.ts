/**
 * How long ago handshakes were. The kernel notes them by the date (drivers/net/wireguard/timers.c, walltime_last_handshake), which may be
 * set back: a handshake in the future counts from when it was first seen, on the monotonic clock.
 */

import type { Clock } from "../../ipam/clock.ts";
import type { WireguardPeer } from "../netlink/wireguard.ts";

export class HandshakeAges {
  readonly #dateMs: () => number;
  readonly #clock: Clock;
  /** By public key. */
  readonly #future = new Map<string, { readonly lastSeconds: number; readonly seenMs: number }>();

  constructor(dateMs: () => number, clock: Clock) {
    this.#dateMs = dateMs;
    this.#clock = clock;
  }

  /** In seconds; null before the first. */
  of({
    publicKey,
    lastHandshakeSeconds: lastSeconds,
  }: Pick<WireguardPeer, "publicKey" | "lastHandshakeSeconds">): number | null {
    if (lastSeconds === 0) return null;
    const ageSeconds = this.#dateMs() / 1000 - lastSeconds;
    if (ageSeconds >= 0) {
      this.#future.delete(publicKey);
      return ageSeconds;
    }
    const nowMs = this.#clock.monotonicMs();
    const seen = this.#future.get(publicKey);
    if (seen?.lastSeconds === lastSeconds) return (nowMs - seen.seenMs) / 1000;
    this.#future.set(publicKey, { lastSeconds, seenMs: nowMs });
    return 0;
  }
}
