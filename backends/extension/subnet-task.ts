/** Brings one peer's subnet from the state that the commands left it in to the one that is wanted. */

import { Backoff, type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { isSameCall, type PeerCall } from "./peer-call.ts";

export interface SubnetTaskOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Reject with what a person is told. */
  readonly add: (call: PeerCall) => Promise<void>;
  readonly remove: (call: PeerCall) => Promise<void>;
  /** Resolves when no removal of another lease could undo what `add` is about to do. Never rejects. */
  readonly untilFree: (call: PeerCall) => Promise<void>;
  /** Called when `problem` or `added` has changed. */
  readonly onChange: () => void;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** A command that cannot remove what is gone already fails each time. */
const REMOVE_ATTEMPTS = 3;

export class SubnetTask {
  readonly #options: SubnetTaskOptions;
  readonly #backoff: Backoff;
  readonly #sleep: Sleep;
  #wanted: PeerCall | null = null;
  /** What SubnetAdd was last told, or may have been before a crash; null when it was undone. */
  #added: PeerCall | null;
  /** SubnetAdd has succeeded for it since the start. */
  #isDone = false;
  #isRunning = false;
  #failedRemovals = 0;
  /** The last attempt to remove, with the pause after it; null while something is added. */
  #removal: Promise<void> | null = null;
  #problem: string | null = null;

  /** `added` is what the record says of an earlier run. */
  constructor(options: SubnetTaskOptions, added: PeerCall | null) {
    const { clock, random } = options;
    this.#options = options;
    this.#added = added;
    this.#sleep = new Sleep(clock);
    this.#backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
  }

  get problem(): string | null {
    return this.#problem;
  }

  /** What SubnetRemove has to undo should the daemon end now; null for nothing. */
  get toRecord(): PeerCall | null {
    return this.#added ?? this.#wanted;
  }

  /** Settles with the present attempt to remove a peer that left; null when none is under way. Never rejects. */
  get removal(): Promise<void> | null {
    return this.#wanted === null && this.#added !== null ? this.#removal : null;
  }

  /** True when nothing is left to do, and nothing to remember. */
  get isForgotten(): boolean {
    return this.#wanted === null && this.#added === null && !this.#isRunning;
  }

  want(call: PeerCall | null): void {
    if (call === this.#wanted || (call !== null && this.#wanted !== null && isSameCall(call, this.#wanted)))
      return;
    this.#wanted = call;
    this.#failedRemovals = 0;
    this.#sleep.wake();
  }

  /** Works until nothing is left to do or the signal fires. A second call while it works does nothing. */
  async run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { signal, onChange } = this.#options;
    try {
      for (let step = this.#next(); step !== null && !signal.aborted; step = this.#next()) {
        const attempt = this.#try(step);
        this.#removal = this.#isRemovalDue ? attempt : null;
        await attempt;
      }
    } finally {
      this.#isRunning = false;
      onChange();
    }
  }

  /** What was added is not what is wanted. */
  get #isRemovalDue(): boolean {
    const [wanted, added] = [this.#wanted, this.#added];
    return added !== null && (wanted === null || !isSameCall(wanted, added));
  }

  /** The next command; null when all is as wanted. */
  #next(): (() => Promise<void>) | null {
    const [wanted, added] = [this.#wanted, this.#added];
    const { add, remove, untilFree } = this.#options;
    if (added !== null && this.#isRemovalDue) {
      return async () => {
        await remove(added);
        this.#added = null;
      };
    }
    if (wanted === null || (added !== null && this.#isDone)) return null;
    return async () => {
      await untilFree(wanted);
      if (this.#wanted !== wanted) return;
      this.#added = wanted;
      this.#isDone = false;
      await add(wanted);
      this.#isDone = true;
    };
  }

  async #try(step: () => Promise<void>): Promise<void> {
    const { signal, onChange } = this.#options;
    const isRemoval = this.#isRemovalDue;
    try {
      await step();
      this.#problem = null;
      this.#backoff.reset();
      onChange();
    } catch (error) {
      if (signal.aborted) return;
      this.#problem = errorMessage(error);
      onChange();
      if (isRemoval && ++this.#failedRemovals >= REMOVE_ATTEMPTS) this.#added = null;
      else await this.#sleep.for(this.#backoff.nextMs(), signal);
    }
  }
}
