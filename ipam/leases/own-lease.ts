/**
 * Keeps our lease: renews it in time, detects its loss, and recovers it.
 *
 *      held ──end passed, store or watch says gone──► lost ──same key by CAS──► held
 *        └────watch shows another host's value─────► conflict ──key free──► lost
 *
 * A loss never touches the data path: the host becomes unready, reports why, and requests the same key again. A key
 * that another host holds is never taken back. `#state` holds all of it and changes only in `#enter`.
 */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import { Backoff, Sleep } from "../clock.ts";
import { errorMessage, LeaseLostError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import type { LeaseFeed, StoreChange, StoreEntry, StoreListing, StoreMessage } from "../stores/contracts.ts";
import { describeTakeover, LEAVE_IT, takeoverBy } from "./claim.ts";
import type { LeaseClaimer, LostLease, Membership } from "./claimer.ts";
import type { LeaseAttrs, LeaseKey } from "./lease.ts";
import { formatLeaseValue, parseLeaseValueOrNull } from "./lease-codec.ts";
import { isFree } from "./lease-recovery.ts";
import { canLeave, type LeaseConflict, type LeaseState } from "./lease-state.ts";
import { LeaseTerm, type LeaseTermOptions } from "./lease-term.ts";

export interface OwnLeaseOptions extends LeaseTermOptions, Pick<LostLease, "networks"> {
  readonly claimer: Pick<LeaseClaimer, "publish" | "keep" | "recover">;
  readonly feed: LeaseFeed;
  readonly attrs: LeaseAttrs;
  readonly logger: Logger;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
  readonly onState: (state: LeaseState) => void;
  /** Called after each attempt to renew, publish or recover the lease. */
  readonly onAttempt?: (isSuccess: boolean) => void;
  /**
   * Leases another subnet when another host owns ours; without it we keep ours and stay unready. Not called against
   * a host with our own public address or node id, where another subnet does not help. Throws what join throws.
   */
  readonly renumber?: ((signal: AbortSignal) => Promise<Membership>) | null;
}

/** What a change is called before the store answered. */
const NOT_WRITTEN = "the store has not confirmed it yet";
const RETRY_FIRST_MS = 100;
/** Upper bound of the time from the store's return to the first attempt to recover a lost lease. */
const RETRY_MAX_MS = 2_000;

export class OwnLease {
  readonly #options: OwnLeaseOptions;
  readonly #failures: FailureSeries;
  readonly #backoff: Backoff;
  readonly #sleep: Sleep;
  readonly #term: LeaseTerm;
  /** Every value that we tried to write: the store may report one late, or after an answer that was lost. */
  readonly #written = new Set<string>();
  #attrs: LeaseAttrs;
  /** `#attrs` as the store is to hold it. */
  #value: string;
  /** As we wrote or last read it: what compare-and-swap compares. */
  #entry: StoreEntry;
  /** No lease overlaps ours that was created up to this revision. */
  #provenRevision: bigint;
  /** Messages about our key up to this revision are older than what we have. */
  #seenRevision: bigint;
  #subnets: PerFamily<Prefix>;
  #state: LeaseState = { state: "held", unpublished: null };
  /** What the store holds has to be judged again, because it may contradict what we wrote: read before the next write. */
  #isDoubtful = false;
  #troubleMs = Number.NEGATIVE_INFINITY;

  constructor(options: OwnLeaseOptions, { entry, subnets, deadlineMs }: Membership) {
    const { logger, random, ttlSeconds } = options;
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
    this.#term = new LeaseTerm(options, deadlineMs);
    this.#attrs = options.attrs;
    this.#value = formatLeaseValue(options.attrs);
    this.#written.add(this.#value);
    this.#failures = new FailureSeries(logger, "lease could not be renewed", "lease is renewed again");
    const maxMs = Math.min(RETRY_MAX_MS, Math.max(RETRY_FIRST_MS, ttlSeconds * 100));
    this.#backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs, random });
    this.#entry = entry;
    this.#provenRevision = entry.createRevision;
    this.#seenRevision = entry.revision;
    this.#subnets = subnets;
  }

  get entry(): StoreEntry {
    return this.#entry;
  }

  /** They change when the host is renumbered. */
  get subnets(): PerFamily<Prefix> {
    return this.#subnets;
  }

  get state(): LeaseState {
    return this.#state;
  }

  /** Monotonic milliseconds; Infinity for a reservation. */
  get deadlineMs(): number {
    return this.#term.endMs;
  }

  /**
   * When the store last failed to renew our lease in time, in monotonic milliseconds; -Infinity: never. Other hosts'
   * leases may have expired for the same cause.
   */
  get troubleMs(): number {
    const isLate = this.#state.state === "held" && this.#term.isLate;
    return isLate || this.#state.state === "lost" ? this.#options.clock.monotonicMs() : this.#troubleMs;
  }

  /** Publishes other facts about this host under the same subnet. */
  publish(attrs: LeaseAttrs): void {
    const value = formatLeaseValue(attrs);
    if (value === this.#value) return;
    this.#attrs = attrs;
    this.#value = value;
    this.#written.add(value);
    this.#notePublication(NOT_WRITTEN);
    // The holder of our key may have had our former address: who it is has to be judged again.
    if (this.#state.state === "conflict") this.#isDoubtful = true;
    this.#sleep.wake();
  }

  /** Reads what the store says about our key. Call it with every message of the watch, in order. */
  observe(message: StoreMessage): void {
    if (message.type === "list") this.#observeListing(message);
    else for (const change of message.changes) this.#observeChange(change);
  }

  /** Runs until `signal` fires; the lease stays in the store. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keep(signal), this.#watchDeadline(signal)]);
  }

  #observeListing(listing: StoreListing): void {
    const { entries, revision } = listing;
    const rival = this.#rival;
    if (rival !== null && !entries.some(({ key }) => key === rival)) this.#rivalLeft(rival);
    if (revision >= this.#seenRevision) this.#judge(listing);
    else {
      // Read before our last write, or after the store was restored from an older backup.
      this.#isDoubtful = true;
      this.#sleep.wake();
    }
  }

  #observeChange(change: StoreChange): void {
    const { key } = this.#entry;
    if (change.type === "put") {
      if (change.entry.key === key && change.entry.revision > this.#seenRevision) this.#meet(change.entry);
    } else if (change.type === "delete") {
      if (change.key === this.#rival) this.#rivalLeft(change.key);
      if (change.key === key && change.revision > this.#seenRevision) this.#miss(change.revision);
    }
  }

  #judge({ entries, revision }: StoreListing): void {
    const holder = entries.find(({ key }) => key === this.#entry.key);
    if (holder === undefined) this.#miss(revision);
    else this.#meet(holder);
  }

  #miss(revision: bigint): void {
    this.#seenRevision = revision;
    // We deleted the key ourselves when we yielded to an older lease.
    if (this.#rival === null) this.#lose("its key was deleted or expired", true);
  }

  /** Our key exists, with a value of ours (even from an attempt whose answer was lost) or with another one. */
  #meet(holder: StoreEntry): void {
    this.#seenRevision = holder.revision;
    const theirs = this.#written.has(holder.value) ? this.#attrs : parseLeaseValueOrNull(holder.value);
    const takeover = theirs === null ? "other host" : takeoverBy(theirs, this.#attrs);
    if (takeover === null) this.#noteOurs(holder);
    else this.#dispute(takeover, describeTakeover(takeover, theirs, this.#attrs));
  }

  /** Our own write, or that of a person who made a reservation of our lease, ended one, or edited its value. */
  #noteOurs(entry: StoreEntry): void {
    const before = this.#entry.storeLeaseId;
    this.#entry = entry;
    if (this.#state.state !== "held") {
      const reason = this.#state.state === "lost" ? this.#state.reason : "its key is ours again";
      this.#lose(reason, false);
      return;
    }
    if (entry.storeLeaseId === null) this.#extend(Number.POSITIVE_INFINITY);
    else if (entry.storeLeaseId !== before) {
      this.#recordTrouble();
      this.#term.markUncertain();
    }
    if (entry.value === this.#value) this.#notePublication(null);
    else if (this.#state.unpublished === null) this.#notePublication(NOT_WRITTEN);
    if (entry.storeLeaseId !== before || entry.value !== this.#value) this.#sleep.wake();
  }

  async #keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#sleep.for(this.#delayMs(), signal);
      if (signal.aborted) return;
      try {
        await this.#act(signal);
        this.#backoff.reset();
        this.#failures.succeeded();
        this.#options.onAttempt?.(true);
      } catch (error) {
        if (signal.aborted) return;
        this.#troubleMs = this.#options.clock.monotonicMs();
        this.#options.onAttempt?.(false);
        if (error instanceof LeaseLostError && this.#state.state === "held" && !this.#isDoubtful)
          this.#lose(error.message, false);
        if (this.#state.state === "held" && this.#state.unpublished !== null)
          this.#notePublication(errorMessage(error));
        this.#failures.failed(error, { key: this.#entry.key });
      }
    }
  }

  async #act(signal: AbortSignal): Promise<void> {
    if (this.#isDoubtful) return await this.#look(signal);
    switch (this.#state.state) {
      case "held":
        return await this.#maintain(this.#state.unpublished, signal);
      case "lost":
        return await this.#recover(this.#state.isAbsent, signal);
      case "conflict":
        return await this.#leaveOrWait(this.#state, signal);
    }
  }

  /** A store can refuse a new value and still renew (etcd without space): one must not wait for the other. */
  async #maintain(unpublished: string | null, signal: AbortSignal): Promise<void> {
    if (unpublished === null || this.#term.idleMs === 0) await this.#renew(signal);
    if (unpublished !== null && this.#state.state === "held") await this.#republish(signal);
  }

  async #watchDeadline(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#term.isOver && this.#state.state === "held")
        this.#lose("it could not be renewed before its end", false);
      await this.#term.untilEndOrChange(signal);
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { claimer, clock } = this.#options;
    const sinceMs = clock.monotonicMs();
    const seconds = await claimer.keep(this.#entry, signal);
    // This does not recover what was lost meanwhile: a store lease can outlive its key.
    if (this.#state.state === "held") this.#extend(sinceMs + seconds * 1000);
  }

  async #republish(signal: AbortSignal): Promise<void> {
    const value = this.#value;
    try {
      const entry = await this.#options.claimer.publish(this.#entry, value, signal);
      if (entry.revision > this.#entry.revision) this.#hear(entry);
    } catch (error) {
      // The other write may be ours, from an attempt whose answer was lost.
      if (error instanceof LeaseLostError) this.#isDoubtful = true;
      throw error;
    }
    if (this.#entry.value === this.#value) this.#notePublication(null);
    this.#options.logger.info("lease republished", { key: this.#entry.key, value });
  }

  async #look(signal: AbortSignal): Promise<void> {
    const listing = await this.#options.feed.list(signal);
    this.#isDoubtful = false;
    this.#judge(listing);
  }

  async #recover(isGone: boolean, signal: AbortSignal): Promise<void> {
    const { claimer, networks } = this.#options;
    const ours = { entry: this.#entry, subnets: this.#subnets, provenRevision: this.#provenRevision };
    const recovery = await claimer.recover({ ...ours, networks, isGone, value: this.#value }, signal);
    // The watch may have shown another host's value meanwhile.
    if (this.#state.state !== "lost") return;
    switch (recovery.outcome) {
      case "held":
        return this.#hold(recovery, "lease recovered");
      case "taken":
        return this.#meet(recovery.holder);
      case "overlapped":
        return this.#yieldTo(recovery.rival);
      case "vanished":
        this.#lose(this.#state.reason, true);
    }
  }

  /** Takes the store's answer to a write of ours. */
  #hear(entry: StoreEntry): void {
    this.#entry = entry;
    this.#seenRevision = entry.revision;
  }

  /** Another host has our subnet: leases another one where that helps and is allowed, else checks whether it is free. */
  async #leaveOrWait({ conflict }: { readonly conflict: LeaseConflict }, signal: AbortSignal): Promise<void> {
    const { feed, networks, renumber } = this.#options;
    if (renumber && canLeave(conflict)) return this.#hold(await renumber(signal), "lease renumbered");
    this.#term.postponeRenewal();
    if (await isFree(feed, { entry: this.#entry, subnets: this.#subnets, networks }, signal))
      this.#enter({ state: "lost", reason: "its key is free again", isAbsent: true });
  }

  #hold(
    { entry, subnets, deadlineMs }: Pick<Membership, "entry" | "subnets" | "deadlineMs">,
    message: string,
  ): void {
    this.#options.logger.info(message, { key: entry.key, before: this.#entry.key });
    this.#hear(entry);
    this.#provenRevision = entry.createRevision;
    this.#subnets = subnets;
    this.#extend(deadlineMs);
    this.#enter({ state: "held", unpublished: entry.value === this.#value ? null : NOT_WRITTEN });
  }

  #yieldTo({ key, value }: StoreEntry): void {
    const reason = `the older lease ${key} (${value.slice(0, 200)}) overlaps it; ${LEAVE_IT}`;
    this.#dispute("overlap", reason, key);
  }

  #rivalLeft(rival: LeaseKey): void {
    this.#lose(`the lease ${rival} that overlapped it is gone`, false);
  }

  #dispute(conflict: LeaseConflict, reason: string, rival: LeaseKey | null = null): void {
    if (this.#state.state === "conflict" && this.#state.reason === reason) return;
    this.#options.logger.error("another host holds our lease; traffic continues, this host is not ready", {
      key: this.#entry.key,
      reason,
    });
    this.#enter({ state: "conflict", conflict, reason, rival });
    this.#sleep.wake();
  }

  /** `isAbsent`: the key is not in the store. A lease that is lost already keeps the reason of its loss. */
  #lose(reason: string, isAbsent: boolean): void {
    if (this.#state.state === "lost") {
      if (this.#state.isAbsent !== isAbsent) this.#enter({ ...this.#state, isAbsent });
    } else {
      this.#options.logger.error("our lease is lost; traffic continues, the lease is requested again", {
        key: this.#entry.key,
        reason,
      });
      this.#enter({ state: "lost", reason, isAbsent });
    }
    this.#sleep.wake();
  }

  #notePublication(unpublished: string | null): void {
    if (this.#state.state !== "held" || this.#state.unpublished === unpublished) return;
    this.#enter({ state: "held", unpublished });
  }

  /** The only place that changes the state. */
  #enter(state: LeaseState): void {
    this.#recordTrouble();
    const isSameLoss = this.#state.state === "lost" && state.state === "lost";
    this.#state = state;
    if (!isSameLoss) this.#options.onState(state);
  }

  #extend(endMs: number): void {
    this.#recordTrouble();
    this.#term.extend(endMs);
  }

  /** Keeps the time of trouble that is about to end. */
  #recordTrouble(): void {
    this.#troubleMs = this.troubleMs;
  }

  /** The older lease to which we yielded. */
  get #rival(): LeaseKey | null {
    return this.#state.state === "conflict" ? this.#state.rival : null;
  }

  /** No request goes to the store between two renewals, unless a request can mend something. */
  #delayMs(): number {
    return this.#failures.count > 0 || this.#isActionDue() ? this.#backoff.nextMs() : this.#term.idleMs;
  }

  #isActionDue(): boolean {
    if (this.#isDoubtful) return true;
    switch (this.#state.state) {
      case "held":
        return this.#state.unpublished !== null;
      case "lost":
        return true;
      case "conflict":
        return this.#options.renumber != null && canLeave(this.#state.conflict);
    }
  }
}
