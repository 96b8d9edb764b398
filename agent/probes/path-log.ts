/**
 * Logs that paths break and work again, and why, which is also what `tulle events` shows.
 *
 * A cause of this host is logged once, not for each peer. When many paths change at once only the first are logged, and how
 * many more there were.
 */

import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import type { Cause, CauseCode } from "./causes.ts";
import type { PathState } from "./path-watch.ts";
import type { ProbeTarget } from "./probe.ts";

/** Lines about paths in a period. */
const MOST_LINES = 20;
const PERIOD_MS = 60_000;

export interface PathLogOptions {
  readonly logger: Logger;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
  /** Whether a cause of this host is seen with any target at the moment. */
  readonly isActive: (code: CauseCode) => boolean;
  /** The name of a peer's host; null where it is not known. */
  readonly hostNameOf: (peer: LeaseKey) => string | null;
}

export class PathLog {
  readonly #options: PathLogOptions;
  /** Causes of this host that were logged and are not over. */
  readonly #hostCauses = new Set<CauseCode>();
  /** Targets whose fault was logged on its own. */
  readonly #logged = new Set<string>();
  #periodMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #unlogged = 0;

  constructor(options: PathLogOptions) {
    this.#options = options;
  }

  /** The state of a target has changed. */
  note(target: ProbeTarget, state: PathState): void {
    this.#endHostCauses();
    if (state.state === "bad" && state.cause.scope === "host") this.#noteHost(state.cause);
    else this.#notePath(target, state);
  }

  #noteHost({ code, text, remedy }: Cause): void {
    if (this.#hostCauses.has(code)) return;
    this.#hostCauses.add(code);
    this.#options.logger.warn("paths to peers are broken", { cause: code, seen: text, remedy });
  }

  #endHostCauses(): void {
    for (const code of this.#hostCauses) {
      if (this.#options.isActive(code)) continue;
      this.#hostCauses.delete(code);
      this.#options.logger.info("paths to peers work again", { cause: code });
    }
  }

  #notePath({ id, peer, family }: ProbeTarget, state: PathState): void {
    const isBad = state.state === "bad";
    // What was not logged when it broke is not logged when it works.
    if (!isBad && !this.#logged.delete(id)) return;
    if (!this.#mayLog()) return;
    const { logger, hostNameOf } = this.#options;
    const host = hostNameOf(peer);
    const path = { peer, ...(host === null ? {} : { host }), family: `IPv${family}` };
    if (isBad) {
      const { code, text, remedy, direction } = state.cause;
      const where = direction === undefined ? {} : { direction };
      logger.warn("the path to a peer is broken", { ...path, cause: code, seen: text, ...where, remedy });
      this.#logged.add(id);
    } else if (state.state === "good") logger.info("the path to a peer works", path);
    else logger.info("of the path to a peer nothing is known", path);
  }

  #mayLog(): boolean {
    const nowMs = this.#options.now();
    if (nowMs - this.#periodMs > PERIOD_MS) {
      const count = this.#unlogged;
      if (count > 0) this.#options.logger.warn("more paths changed than were logged", { count });
      this.#periodMs = nowMs;
      this.#lines = 0;
      this.#unlogged = 0;
    }
    this.#lines += 1;
    if (this.#lines > MOST_LINES) this.#unlogged += 1;
    return this.#lines <= MOST_LINES;
  }
}
