/**
 * What is known of the path to one target, from the outcomes of its probes. Pure; a state machine of four states.
 *
 *     unknown ──answer──► good ◄──────────── complete examination without a cause
 *        │                 │ silence                    ▲
 *        └────silence──────┴────► examining ────────────┴──► bad, examined again every few seconds
 */

import type { Cause, History } from "./causes.ts";
import { Examination } from "./examination.ts";
import { type Evidence, isAnswered, type Outcome, type Probe, type ProbeTarget } from "./probe.ts";

export type PathState =
  | { readonly state: "unknown" }
  | { readonly state: "good" }
  | { readonly state: "bad"; readonly cause: Cause; readonly sinceMs: number };

/** Until the next examination of a path that is bad. */
const REPEAT_MS = 5_000;
/** The same for one that nothing is proven of, doubled each time up to the longest. */
const LONGEST_REPEAT_MS = 300_000;
/** Of the weight of a new round trip in the smoothed one (RFC 6298 section 2). */
const SMOOTHING = 1 / 8;
/** One in so many routine probes is a TCP connection. */
const TCP_TURN = 3;

export class PathWatch {
  readonly target: ProbeTarget;
  #state: PathState = { state: "unknown" };
  #examination: Examination | null = null;
  #repeatMs = REPEAT_MS;
  #history: History = { inner: false, tcp: false, outer: false };
  #roundTripMs: number | null = null;
  #lossRatio: number | null = null;
  #turn = 0;

  constructor(target: ProbeTarget, former: PathWatch | null = null) {
    this.target = target;
    if (former === null) return;
    this.#state = former.#state;
    this.#history = former.#history;
    this.#roundTripMs = former.#roundTripMs;
    this.#lossRatio = former.#lossRatio;
  }

  get state(): PathState {
    return this.#state;
  }

  get history(): History {
    return this.#history;
  }

  /** Smoothed, through the tunnel; null before the first answer. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** Smoothed, of probes through the tunnel, 0 to 1; null before the first answer. */
  get lossRatio(): number | null {
    return this.#lossRatio;
  }

  /** An examination has ended without proving anything. */
  get wasExamined(): boolean {
    return this.#repeatMs > REPEAT_MS;
  }

  get isExamining(): boolean {
    return this.#examination !== null;
  }

  /** Until this path is to be examined again; null for one that is good. */
  get repeatMs(): number | null {
    return this.#state.state === "good" ? null : this.#repeatMs;
  }

  /** The probe of a routine visit. */
  routine(): Probe {
    if (!this.target.isInnerCertain && !this.#history.inner) return { kind: "outer" };
    this.#turn = (this.#turn + 1) % TCP_TURN;
    return this.#turn === 0 && this.#history.tcp ? { kind: "tcp" } : { kind: "full" };
  }

  /** Begins an examination unless one runs. */
  examine(): void {
    this.#examination ??= new Examination(this.target.family, this.target.mtuBytes);
  }

  /** The next probe of the examination; null while answers are awaited, and when none runs. */
  nextProbe(): Probe | null {
    return this.#examination?.next() ?? null;
  }

  /** What became of a routine probe. */
  noteRoutine(probe: Probe, outcome: Outcome): void {
    this.#remember(probe, outcome);
    this.#countLoss(probe, outcome);
    const isBad = this.#state.state === "bad";
    // Silence is what is expected of a bad path; an answer is news.
    if (isAnswered(outcome) === isBad) this.examine();
    else if (this.#state.state === "unknown" && isAnswered(outcome)) this.#state = { state: "good" };
  }

  /** What became of a probe of the examination. Answers the evidence once there is some to judge. */
  noteExamined(probe: Probe, outcome: Outcome): Evidence | null {
    this.#remember(probe, outcome);
    this.#countLoss(probe, outcome);
    this.#examination?.note(probe, outcome);
    return this.#examination?.evidence ?? null;
  }

  /** What the evidence was found to mean; ends an examination that is complete. Answers whether the state has changed for people. */
  conclude(cause: Cause | null, evidence: Evidence, nowMs: number): boolean {
    const before = this.#state;
    if (cause !== null) {
      const sinceMs = before.state === "bad" ? before.sinceMs : nowMs;
      this.#state = { state: "bad", cause, sinceMs };
    } else {
      const isProven = [evidence.full, evidence.tcp, evidence.outer].some(isAnswered);
      this.#state = { state: isProven ? "good" : "unknown" };
    }
    const isUnknown = this.#state.state === "unknown";
    this.#repeatMs = isUnknown ? Math.min(this.#repeatMs * 2, LONGEST_REPEAT_MS) : REPEAT_MS;
    if (this.#examination?.isComplete) this.#examination = null;
    return codeOf(before) !== codeOf(this.#state);
  }

  #countLoss({ kind }: Probe, outcome: Outcome): void {
    // A search for the largest size that passes loses packets by its nature.
    if (kind === "outer" || kind === "size" || !this.#history.inner) return;
    const smoothed = this.#lossRatio ?? 0;
    this.#lossRatio = smoothed + ((isAnswered(outcome) ? 0 : 1) - smoothed) * SMOOTHING;
  }

  #remember({ kind }: Probe, outcome: Outcome): void {
    if (!isAnswered(outcome)) return;
    const known = kind === "tcp" ? "tcp" : kind === "outer" ? "outer" : "inner";
    if (!this.#history[known]) this.#history = { ...this.#history, [known]: true };
    if (known !== "inner") return;
    const { roundTripMs } = outcome;
    const smoothed = this.#roundTripMs ?? roundTripMs;
    this.#roundTripMs = smoothed + (roundTripMs - smoothed) * SMOOTHING;
  }
}

function codeOf(state: PathState): string {
  return state.state === "bad" ? state.cause.code : state.state;
}
