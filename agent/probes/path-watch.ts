/**
 * What is known of the path to one target, from the outcomes of its probes. Pure; a state machine of four states.
 *
 *     unknown ──answer──► good ◄──────────── complete examination without a cause
 *        │                 │ silence                    ▲
 *        └────silence──────┴────► examining ────────────┴──► bad, examined again every few seconds
 */

import { AgentSigns } from "./agent-signs.ts";
import { type Cause, causeOf, describeEvidence, type History } from "./causes.ts";
import { Examination } from "./examination.ts";
import { LossMeter } from "./loss-meter.ts";
import { type Evidence, isAnswered, type Outcome, type Probe, type ProbeTarget } from "./probe.ts";

export type PathState =
  | { readonly state: "unknown" }
  | { readonly state: "good" }
  | { readonly state: "bad"; readonly cause: Cause; readonly sinceMs: number };

/** Shared, because there are as many paths as peers. */
const UNKNOWN: PathState = { state: "unknown" };
const GOOD: PathState = { state: "good" };
const NO_ANSWERS: History = { inner: false, tcp: false, outer: false };

/** Until the next examination of a path that is bad. */
const REPEAT_MS = 5_000;
/** The same for one that nothing is proven of, doubled each time up to the longest. */
const LONGEST_REPEAT_MS = 300_000;
/** A peer that has just come may not be ready yet: so long it is the fault of no one that it is silent. */
const NEW_MS = 15_000;
/** The same for one that loses packets, until the share is known. */
const SUSPECT_MS = 1_000;
/** Of the weight of a new round trip in the smoothed one (RFC 6298 section 2). */
const SMOOTHING = 1 / 8;
/** One in so many routine probes is a TCP connection. */
const TCP_TURN = 3;

const LOSS = "packets-lost" satisfies Cause["code"];

/** Causes that the kernel of this host names: a peer that has just come does not excuse them. */
const AT_ONCE: ReadonlySet<Cause["code"]> = new Set(["interface-down", "path-diverted", "no-route"]);

export class PathWatch {
  readonly target: ProbeTarget;
  readonly #createdMs: number;
  readonly #loss = new LossMeter();
  /** Of the peer's agent, by this path. */
  readonly signs = new AgentSigns();
  #state = UNKNOWN;
  #examination: Examination | null = null;
  #repeatMs = REPEAT_MS;
  #history = NO_ANSWERS;
  #roundTripMs: number | null = null;
  #turn = 0;
  #hasTriedTcp = false;
  #measured: string | null = null;

  /** `nowMs` is monotonic. */
  constructor(target: ProbeTarget, nowMs: number) {
    this.target = target;
    this.#createdMs = nowMs;
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

  /** Share of the last packets through the tunnel that were lost, between 0 and 1; null before enough packets. */
  get lossShare(): number | null {
    return this.#loss.share;
  }

  /** What an examination showed that proved nothing; null while something is known. */
  get measured(): string | null {
    return this.#state.state === "unknown" ? this.#measured : null;
  }

  /** An examination has ended without proving anything. */
  get wasExamined(): boolean {
    return this.#measured !== null;
  }

  get isExamining(): boolean {
    return this.#examination !== null;
  }

  /** Until this path is to be examined again; null for one that is good. */
  get repeatMs(): number | null {
    if (codeOf(this.#state) === LOSS && this.#loss.isPromising) return SUSPECT_MS;
    if (this.#state.state !== "good") return this.#repeatMs;
    return this.#loss.isSuspect ? SUSPECT_MS : null;
  }

  /** The probe of a routine visit. */
  routine(): Probe {
    if (!this.target.isInnerCertain && !this.#history.inner) return { kind: "outer" };
    this.#turn = (this.#turn + 1) % TCP_TURN;
    if (this.#turn !== 0 || (this.#hasTriedTcp && !this.#history.tcp)) return { kind: "full" };
    // One that was never answered is tried once: a firewall there may drop it.
    this.#hasTriedTcp = true;
    return { kind: "tcp" };
  }

  /** Begins an examination unless one runs; answers whether one has begun. */
  examine(): boolean {
    if (this.#examination !== null) return false;
    this.#examination = new Examination(this.target.family, this.target.mtuBytes);
    return true;
  }

  /** The next probe of the examination; null while answers are awaited, and when none runs. */
  nextProbe(nowMs: number): Probe | null {
    return this.#examination?.next(nowMs) ?? null;
  }

  /** What became of a routine probe. Answers whether the path is to be examined. */
  noteRoutine(probe: Probe, outcome: Outcome): boolean {
    this.#remember(probe, outcome);
    if (isAnswered(outcome)) {
      if (this.#state.state === "unknown") this.#state = GOOD;
      // An answer of a bad path is news.
      return this.#state.state === "bad";
    }
    // Silence is what is expected of a bad path, and of one that nothing is proven of.
    return this.#state.state === "good" || (this.#state.state === "unknown" && !this.wasExamined);
  }

  /** What became of a probe of the examination. Answers the evidence once there is some to judge. */
  noteExamined(probe: Probe, outcome: Outcome): Evidence | null {
    this.#remember(probe, outcome);
    this.#examination?.note(probe, outcome);
    return this.#examination?.evidence ?? null;
  }

  /** What the evidence was found to mean; ends an examination that is complete. Answers whether the state has changed for people. */
  conclude(proven: Cause | null, evidence: Evidence, nowMs: number): boolean {
    const before = this.#state;
    if (codeOf(before) === LOSS && this.#loss.hasEnded) this.#loss.end();
    const cause = (this.#isExcused(proven, nowMs) ? null : proven) ?? this.#lossCause(evidence);
    if (cause !== null) {
      const sinceMs = before.state === "bad" ? before.sinceMs : nowMs;
      this.#state = { state: "bad", cause, sinceMs };
    } else {
      const isProven = [evidence.full, evidence.tcp, evidence.outer].some(isAnswered);
      const isOpen = proven !== null;
      this.#state = isProven && !isOpen ? GOOD : UNKNOWN;
    }
    if (proven !== null) this.#loss.clear();
    this.#measured = describeEvidence(evidence);
    const isSilent = this.#state.state === "unknown" && proven === null;
    this.#repeatMs = isSilent ? Math.min(this.#repeatMs * 2, LONGEST_REPEAT_MS) : REPEAT_MS;
    if (this.#examination?.isComplete) this.#examination = null;
    return codeOf(before) !== codeOf(this.#state);
  }

  #isExcused(cause: Cause | null, nowMs: number): boolean {
    if (cause === null || this.#history.inner || AT_ONCE.has(cause.code)) return false;
    return nowMs - this.#createdMs < NEW_MS;
  }

  #lossCause({ small, full, tcp }: Evidence): Cause | null {
    const { isBad, isStillBad, lost, packets } = this.#loss;
    const isLossy = codeOf(this.#state) === LOSS ? isStillBad : isBad;
    // Where much is lost, all echo requests of an examination may be, and TCP tries again.
    if (!isLossy || ![small, full, tcp].some(isAnswered)) return null;
    return causeOf(LOSS, `answers, but ${lost} of the last ${packets} packets were lost`);
  }

  #remember({ kind }: Probe, outcome: Outcome): void {
    const known = kind === "tcp" || kind === "syn" ? "tcp" : kind === "outer" ? "outer" : "inner";
    // What was sent before the peer was ready is not lost.
    const isEcho = kind === "full" || kind === "small";
    if (isEcho && (this.#history.inner || isAnswered(outcome))) this.#loss.note(!isAnswered(outcome));
    // A segment with a checksum of our own says nothing of those that the kernel sends.
    if (!isAnswered(outcome) || kind === "syn") return;
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
