/**
 * Keeps our lease: extends it in time, notices when it is no longer ours, and gets it back.
 *
 *      held ──its end passed, the store or the watch says gone──► lost ──same key by CAS──► held
 *        └────────the watch says that another host has it───► conflict ──key free──► lost
 *
 * Loss never touches the data path: it makes the host unready, says why, and asks for the same key again. A key
 * that another host holds is never taken back.
 */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import { Backoff, Nap } from "../clock.ts";
import { LeaseLostError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import type { StoreChange, StoreEntry, StoreListing, StoreMessage, SubnetStore } from "../stores/store.ts";
import { describeTakeover, LEAVE_IT, takeoverBy } from "./claim.ts";
import type { Membership } from "./join.ts";
import type { LeaseAttrs, LeaseKey } from "./lease.ts";
import { formatLeaseValue, parseLeaseValue } from "./lease-codec.ts";
import { isFree, recoverLease } from "./lease-recovery.ts";
import type { LeaseConflict, LeaseState } from "./lease-state.ts";
import { LeaseTerm, type LeaseTermOptions } from "./lease-term.ts";

export interface OwnLeaseOptions extends LeaseTermOptions {
  readonly store: SubnetStore;
  readonly attrs: LeaseAttrs;
  readonly logger: Logger;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
  readonly onState: (state: LeaseState) => void;
  /** Called after each attempt to renew, or to get back what was lost. */
  readonly onAttempt?: (isSuccess: boolean) => void;
  /**
   * Leases another subnet when another host owns ours; without it we keep ours and stay unready. Called only where
   * that helps: not against a host with our own public address or node id. Throws what join throws.
   */
  readonly renumber?: ((signal: AbortSignal) => Promise<Membership>) | null;
}

const RETRY_FIRST_MS = 100;
/** A lost lease is back this long after the store is, at the latest. */
const RETRY_MAX_MS = 2_000;

export class OwnLease {
  readonly #options: OwnLeaseOptions;
  readonly #failures: FailureSeries;
  readonly #backoff: Backoff;
  readonly #nap: Nap;
  readonly #term: LeaseTerm;
  /** What we have written or are about to: the store may say so late, or after an answer that got lost. */
  readonly #written = new Set<string>();
  #attrs: LeaseAttrs;
  #isPublished = true;
  /** As we wrote or last met it: what compare-and-swap compares. */
  #entry: StoreEntry;
  /** Whatever the store tells of our key up to here is old. */
  #seenRevision: bigint;
  #subnets: PerFamily<Prefix>;
  #state: LeaseState = { state: "held" };
  #isGone = false;
  /** What the watch told does not fit what we wrote: only a look at the store helps. */
  #isDoubtful = false;
  /** The older lease to which we gave way. */
  #rivalKey: LeaseKey | null = null;
  #troubleMs = Number.NEGATIVE_INFINITY;

  constructor(options: OwnLeaseOptions, { entry, subnets, deadlineMs }: Membership) {
    const { logger, random, ttlSeconds } = options;
    this.#options = options;
    this.#nap = new Nap(options.clock);
    this.#term = new LeaseTerm(options, deadlineMs);
    this.#attrs = options.attrs;
    this.#written.add(this.#value);
    this.#failures = new FailureSeries(logger, "lease could not be renewed", "lease is renewed again");
    const maxMs = Math.min(RETRY_MAX_MS, Math.max(RETRY_FIRST_MS, ttlSeconds * 100));
    this.#backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs, random });
    this.#entry = entry;
    this.#seenRevision = entry.revision;
    this.#subnets = subnets;
  }

  get entry(): StoreEntry {
    return this.#entry;
  }

  /** Others than before after a renumbering. */
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
   * When the store last failed to renew our lease in time, on the monotonic clock; -Infinity: never. What happened to
   * our lease then may have happened to others.
   */
  get troubleMs(): number {
    const { state } = this.#state;
    if (state === "lost" || (state === "held" && this.#term.isLate))
      this.#troubleMs = this.#options.clock.monotonicMs();
    return this.#troubleMs;
  }

  /** Tells the other hosts other facts about this one, under the same subnet. */
  publish(attrs: LeaseAttrs): void {
    if (formatLeaseValue(attrs) === this.#value) return;
    this.#attrs = attrs;
    this.#written.add(this.#value);
    this.#isPublished = false;
    this.#nap.wake();
  }

  /** Looks for what the store says about our key. To be called with every message of the watch, in order. */
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
    if (this.#rivalKey !== null && !entries.some(({ key }) => key === this.#rivalKey)) this.#rivalLeft();
    if (revision >= this.#seenRevision) this.#judge(listing);
    else {
      // Read before our last write, or after the store was restored from an older backup.
      this.#isDoubtful = true;
      this.#nap.wake();
    }
  }

  #observeChange(change: StoreChange): void {
    const { key } = this.#entry;
    if (change.type === "put") {
      if (change.entry.key === key && change.entry.revision > this.#seenRevision) this.#meet(change.entry);
    } else if (change.type === "delete") {
      if (change.key === this.#rivalKey) this.#rivalLeft();
      if (change.key === key && change.revision > this.#seenRevision) this.#miss(change.revision);
    }
  }

  /** Takes what a listing says of our key for the truth. */
  #judge({ entries, revision }: StoreListing): void {
    const holder = entries.find(({ key }) => key === this.#entry.key);
    if (holder === undefined) this.#miss(revision);
    else this.#meet(holder);
  }

  #miss(revision: bigint): void {
    this.#seenRevision = revision;
    // A key that we gave up ourselves because of an older lease is missed by nobody.
    if (this.#rivalKey !== null) return;
    this.#isGone = true;
    this.#lose("its key was deleted or expired");
  }

  /** Something stands under our key: our own value, also from an attempt of which we heard no answer, or not. */
  #meet(holder: StoreEntry): void {
    this.#isGone = false;
    this.#seenRevision = holder.revision;
    const theirs = this.#written.has(holder.value) ? this.#attrs : attrsOf(holder);
    const takeover = theirs === null ? "other host" : takeoverBy(theirs, this.#attrs);
    if (takeover === null) this.#noteOurs(holder);
    else this.#dispute(takeover, describeTakeover(takeover, theirs, this.#attrs));
  }

  /** Our own write, or somebody's who made a reservation of our lease, ended one, or edited it by hand. */
  #noteOurs(entry: StoreEntry): void {
    const before = this.#entry.storeLeaseId;
    this.#entry = entry;
    this.#isPublished = entry.value === this.#value;
    if (this.#state.state === "conflict") this.#lose("its key is ours again, for how long is not known");
    if (this.#state.state === "lost") return;
    if (entry.storeLeaseId === null) this.#term.extend(Number.POSITIVE_INFINITY);
    else if (entry.storeLeaseId !== before) this.#term.doubt();
    if (entry.storeLeaseId !== before || !this.#isPublished) this.#nap.wake();
  }

  async #keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#nap.take(this.#delayMs(), signal);
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
          this.#lose(error.message);
        this.#failures.failed(error, { key: this.#entry.key });
      }
    }
  }

  async #act(signal: AbortSignal): Promise<void> {
    if (this.#isDoubtful) await this.#look(signal);
    else if (this.#state.state === "held")
      await (this.#isPublished ? this.#renew(signal) : this.#republish(signal));
    else if (this.#state.state === "lost") await this.#recover(signal);
    else await this.#leaveOrWait(signal);
  }

  async #watchDeadline(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#term.isOver && this.#state.state === "held")
        this.#lose("it could not be renewed before its end");
      await this.#term.untilEndOrChange(signal);
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#options;
    const sinceMs = clock.monotonicMs();
    const seconds = await store.keepAlive(this.#entry, signal);
    this.#troubleMs = this.troubleMs;
    // What was lost meanwhile is not regained by this: a store lease can live on without its key.
    if (this.#state.state === "held") this.#term.extend(sinceMs + seconds * 1000);
  }

  async #republish(signal: AbortSignal): Promise<void> {
    const value = this.#value;
    try {
      const entry = await this.#options.store.replace(this.#entry, value, null, signal);
      if (entry.revision > this.#entry.revision) this.#hear(entry);
    } catch (error) {
      // Perhaps by ourselves, in a try of which we heard no answer.
      if (error instanceof LeaseLostError) this.#isDoubtful = true;
      throw error;
    }
    this.#isPublished = value === this.#value;
    this.#options.logger.info("lease tells other hosts of the change here", { key: this.#entry.key, value });
  }

  async #look(signal: AbortSignal): Promise<void> {
    const listing = await this.#options.store.list(signal);
    this.#isDoubtful = false;
    this.#judge(listing);
  }

  async #recover(signal: AbortSignal): Promise<void> {
    const lost = {
      entry: this.#entry,
      subnets: this.#subnets,
      isGone: this.#isGone,
      value: this.#value,
    };
    const recovery = await recoverLease(this.#options, lost, signal);
    // The watch may have said meanwhile that another host was quicker.
    if (this.#state.state !== "lost") return;
    switch (recovery.outcome) {
      case "held":
        this.#isPublished = lost.value === this.#value;
        return this.#hold({ ...lost, ...recovery }, "lease is ours again");
      case "taken":
        return this.#meet(recovery.holder);
      case "overlapped":
        return this.#yieldTo(recovery.rival);
      case "vanished":
        this.#isGone = true;
    }
  }

  /** The store's answer to a write of ours. */
  #hear(entry: StoreEntry): void {
    this.#entry = entry;
    this.#seenRevision = entry.revision;
  }

  /** Another host has our subnet: take another one where that helps and is wanted, else see whether it is free. */
  async #leaveOrWait(signal: AbortSignal): Promise<void> {
    const { store, renumber } = this.#options;
    if (renumber && this.#canLeave()) {
      return this.#hold(await renumber(signal), "host takes another subnet");
    }
    this.#term.postponeRenewal();
    if (!(await isFree(store, { entry: this.#entry, subnets: this.#subnets }, signal))) return;
    this.#isGone = true;
    this.#set({ state: "lost", reason: "its key is free again" });
  }

  #canLeave(): boolean {
    if (this.#state.state !== "conflict" || !this.#options.renumber) return false;
    return this.#state.conflict === "other host" || this.#state.conflict === "overlap";
  }

  #hold(
    { entry, subnets, deadlineMs }: Pick<Membership, "entry" | "subnets" | "deadlineMs">,
    message: string,
  ): void {
    this.#options.logger.info(message, { key: entry.key, before: this.#entry.key });
    this.#troubleMs = this.troubleMs;
    this.#hear(entry);
    this.#subnets = subnets;
    this.#isGone = false;
    this.#term.extend(deadlineMs);
    this.#set({ state: "held" });
  }

  get #value(): string {
    return formatLeaseValue(this.#attrs);
  }

  #yieldTo({ key, value }: StoreEntry): void {
    this.#dispute("overlap", `the older lease ${key} (${value.slice(0, 200)}) overlaps it; ${LEAVE_IT}`);
    this.#rivalKey = key;
  }

  #rivalLeft(): void {
    this.#lose(`the lease ${this.#rivalKey} that overlapped it is gone`);
  }

  #dispute(conflict: LeaseConflict, reason: string): void {
    if (this.#state.state === "conflict" && this.#state.reason === reason) return;
    const { logger } = this.#options;
    logger.error("our lease is another host's; traffic goes on, this host is not ready", {
      key: this.#entry.key,
      reason,
    });
    this.#set({ state: "conflict", conflict, reason });
    this.#nap.wake();
  }

  #lose(reason: string): void {
    if (this.#state.state !== "lost") {
      const { logger } = this.#options;
      logger.error("our lease is lost; traffic goes on, the lease is asked for again", {
        key: this.#entry.key,
        reason,
      });
      this.#set({ state: "lost", reason });
    }
    this.#nap.wake();
  }

  #set(state: LeaseState): void {
    this.#state = state;
    this.#rivalKey = null;
    this.#options.onState(state);
  }

  /** Nothing is asked of the store between two renewals, unless something is wrong that asking can mend. */
  #delayMs(): number {
    const { state } = this.#state;
    const isSettled = !this.#isDoubtful && (state === "held" ? this.#isPublished : state === "conflict");
    if (this.#failures.count > 0 || !isSettled || this.#canLeave()) return this.#backoff.nextMs();
    return this.#term.idleMs;
  }
}

function attrsOf(entry: StoreEntry): LeaseAttrs | null {
  try {
    return parseLeaseValue(entry.value);
  } catch {
    return null;
  }
}
