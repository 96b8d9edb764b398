/**
 * Changes that the kernel rejected, grouped by cause: a missing right or device fails thousands of changes with one
 * cause, which is logged once. All are retried at the same time, which the caller sets. No I/O.
 */

import type { TulleError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import { EACCES, EPERM, NetlinkError } from "../netlink/errors.ts";
import type { ObjectKey } from "../state/contract/kind.ts";
import type { PendingChange } from "../state/tracker.ts";

/** Changes of one kind that failed for one reason in the last pass. */
export interface FailedChange {
  /** The first of them. */
  readonly key: ObjectKey;
  readonly message: string;
  /** How many more failed the same way. */
  readonly others: number;
}

export interface Refusal {
  readonly pending: PendingChange;
  readonly error: TulleError;
}

interface Failure {
  readonly group: string;
  readonly message: string;
}

export class Failures {
  readonly #logger: Logger;
  readonly #failures = new Map<ObjectKey, Failure>();
  /** Groups that were logged. */
  readonly #said = new Set<string>();
  #retryAtMs = Number.NEGATIVE_INFINITY;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isEmpty(): boolean {
    return this.#failures.size === 0;
  }

  /** When `key` may be changed; not later than now unless the last attempt failed. */
  notBeforeMs(key: ObjectKey): number {
    return this.#failures.has(key) ? this.#retryAtMs : Number.NEGATIVE_INFINITY;
  }

  /** Failed changes may be made again from then on. */
  retryAt(atMs: number): void {
    this.#retryAtMs = atMs;
  }

  retryNow(): void {
    this.#retryAtMs = Number.NEGATIVE_INFINITY;
  }

  /** One line for each sort of failure. */
  list(): readonly FailedChange[] {
    const lines = new Map<string, FailedChange>();
    for (const [key, { group, message }] of this.#failures) {
      const line = lines.get(group) ?? { key, message, others: -1 };
      lines.set(group, { ...line, others: line.others + 1 });
    }
    return [...lines.values()];
  }

  /** Drops failures of changes that are no longer pending. */
  retain(pending: readonly PendingChange[]): void {
    if (this.isEmpty) return;
    const keys = new Set(pending.map(({ key }) => key));
    for (const key of this.#failures.keys()) if (!keys.has(key)) this.#failures.delete(key);
  }

  /**
   * Takes the outcome of one pass. The first failure only causes a dump, because our view of the kernel may be stale. A
   * failure that persists after the dump is logged, once.
   *
   * @param isRepeated whether the pass before failed too
   */
  note(attempted: readonly PendingChange[], refusals: readonly Refusal[], isRepeated: boolean): void {
    for (const { key } of attempted) this.#failures.delete(key);
    for (const { pending, error } of refusals) {
      this.#failures.set(pending.key, { group: groupOf(pending, error), message: messageOf(error) });
    }
    const groups = new Set([...this.#failures.values()].map(({ group }) => group));
    for (const group of this.#said) if (!groups.has(group)) this.#said.delete(group);
    if (refusals.length > 0) this.#log(isRepeated);
  }

  #log(isRepeated: boolean): void {
    for (const { key, message, others } of this.list()) {
      const group = this.#failures.get(key)?.group ?? "";
      const isNews = isRepeated && !this.#said.has(group);
      if (isNews) this.#said.add(group);
      this.#logger[isNews ? "warn" : "debug"]("kernel rejected a change", { key, error: message, others });
    }
  }
}

function groupOf({ change }: PendingChange, error: TulleError): string {
  if (isForbidden(error)) return "forbidden";
  const reason = error instanceof NetlinkError ? error.errnoName : error.code;
  return `${change.op} ${change.object.kind} ${reason}`;
}

function messageOf(error: TulleError): string {
  if (!isForbidden(error)) return error.message;
  return `${error.message}: changing the network needs CAP_NET_ADMIN and a writable /proc/sys; run as root or grant it`;
}

function isForbidden(error: TulleError): boolean {
  return error instanceof NetlinkError && (error.errno === EPERM || error.errno === EACCES);
}
