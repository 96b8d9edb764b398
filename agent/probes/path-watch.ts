/**
 * What is known of the path to one target, from the outcomes of its probes. Pure; a state machine of four states.
 *
 *     unknown ──answer──► good ◄──────────── complete examination without a cause
 *        │                 │ silence                    ▲
 *        └────silence──────┴────► examining ────────────┴──► bad, examined again every few seconds
 */

import { AgentSigns } from "./agent-signs.ts";
import type { History, Judgement, LateAnswer } from "./case.ts";
import type { Cause } from "./causes.ts";
import { PATIENCE_MS } from "./echo-line.ts";
import { Examination } from "./examination.ts";
import { LOSS, PathLoss } from "./path-loss.ts";
import {
  describeEvidence,
  type Evidence,
  isAnswered,
  type Outcome,
  type Probe,
  type ProbeTarget,
} from "./probe.ts";

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
/** A peer that has just come may not be ready yet: for this long its silence is not a fault. */
const NEW_MS = 15_000;
/** For this long its silence is not examined: its tunnel device may not be up yet. */
const COMING_MS = 2_000;
/** Until the next examination of a path that loses packets, until the share is known. */
const SUSPECT_MS = 1_000;
/** An answer of a path in use is late after so many round trips, and this long at least. */
const LATE_ROUND_TRIPS = 4;
const LEAST_LATE_MS = 300;
/** Of the weight of a new round trip in the smoothed one (RFC 6298 section 2). */
const SMOOTHING = 1 / 8;
/** One in this many routine probes is a TCP connection. */
const TCP_TURN = 3;

/** Pings in a row without an answer, of a path that works otherwise: a firewall drops them. */
const FILTERED_PINGS = 4;

const LATE = "answers-late" satisfies Cause["code"];

/** Causes that one kind of probe shows, while others are answered. */
const KIND_OF: Readonly<Partial<Record<Cause["code"], "full" | "tcp">>> = {
  "large-packets-lost": "full",
  "tcp-lost": "tcp",
  "checksum-broken": "tcp",
};

/** Of each probe where nothing inside is answered: a path that was good is given one more. */
const ATTEMPTS = { usual: 2, good: 3 } as const;

/** Examinations that a report of the peer is remembered for: it sends one a second to all (icmp(7), icmp_ratelimit). */
const REPORT_EXAMINATIONS = 3;

/** Causes that silence alone shows, which heavy loss shows as well for a while. */
const OF_SILENCE: ReadonlySet<Cause["code"]> = new Set([
  "tunnel-filtered",
  "lease-lost",
  "host-down",
  "host-unreachable",
  "address-silent",
  "peer-firewall",
]);

/** Causes that the kernel of this host names: a peer that has just come does not excuse them. */
const AT_ONCE: ReadonlySet<Cause["code"]> = new Set(["interface-down", "path-diverted", "no-route"]);

export class PathWatch {
  readonly target: ProbeTarget;
  readonly #createdMs: number;
  readonly #loss = new PathLoss();
  /** Of the peer's agent, by this path. */
  readonly signs = new AgentSigns();
  #state = UNKNOWN;
  #examination: Examination | null = null;
  #repeatMs = REPEAT_MS;
  #history = NO_ANSWERS;
  #roundTripMs: number | null = null;
  #turn = 0;
  #hasTriedTcp = false;
  #silentPings = 0;
  #hasTriedOuter = false;
  #late: LateAnswer | null = null;
  #measured: string | null = null;
  #examinations = 0;
  /** What was reported of an echo request, and the examinations since then. */
  #report: { readonly outcome: Outcome; examinations: number } | null = null;

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

  /** How long after a probe its answer is suspiciously late, in milliseconds; null while nothing is known of that. */
  get lateAfterMs(): number | null {
    if (this.#roundTripMs === null || this.#state.state !== "good") return null;
    const lateMs = Math.max(LEAST_LATE_MS, this.#roundTripMs * LATE_ROUND_TRIPS);
    return lateMs < PATIENCE_MS ? lateMs : null;
  }

  /** An answer that came after its probe had been given up, since the last examination; null for none. */
  get late(): LateAnswer | null {
    return this.#late;
  }

  /** Share of the last packets through the tunnel that were lost, between 0 and 1; null before enough packets. */
  get lossShare(): number | null {
    return this.#loss.share;
  }

  /** What an examination showed that proved nothing; null while something is known. */
  get measured(): string | null {
    return this.#state.state === "unknown" ? this.#measured : null;
  }

  /** Where pings are filtered, those of agents may be as well. */
  get isPingFiltered(): boolean {
    return this.#silentPings >= FILTERED_PINGS;
  }

  /** An examination has ended without proving anything. */
  get wasExamined(): boolean {
    return this.#measured !== null;
  }

  /** When the silence of a peer that has just come begins to count, monotonic; null where it counts now. */
  seriousMs(outcome: Outcome, nowMs: number): number | null {
    const isComing = outcome.type === "silent" && this.#state.state === "unknown" && !this.#history.inner;
    const seriousMs = this.#createdMs + COMING_MS;
    return isComing && nowMs < seriousMs ? seriousMs : null;
  }

  /** How many examinations have ended. */
  get examinations(): number {
    return this.#examinations;
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
    this.#turn = (this.#turn + 1) % TCP_TURN;
    if (this.#isInnerGuessed) return { kind: this.#turn === 0 ? "full" : "outer" };
    if (this.#history.inner && !this.#hasTriedOuter) {
      // Once, so that its silence means something later.
      this.#hasTriedOuter = true;
      return { kind: "outer" };
    }
    if (this.#turn !== 0 || (this.#hasTriedTcp && !this.#history.tcp)) return { kind: "full" };
    // One that was never answered is tried once: a firewall there may drop it.
    this.#hasTriedTcp = true;
    return { kind: "tcp" };
  }

  /** Whether the peer has the inner address is not known. */
  get #isInnerGuessed(): boolean {
    return !this.target.isInnerCertain && !this.#history.inner;
  }

  /** Begins an examination unless one runs; returns whether one has begun. */
  examine(): boolean {
    if (this.#examination !== null) return false;
    const { family, mtuBytes } = this.target;
    const isGood = this.#state.state === "good";
    if (isGood) this.#late = null;
    this.#examination = new Examination(family, mtuBytes, {
      attempts: isGood ? ATTEMPTS.good : ATTEMPTS.usual,
      isLossy: this.#loss.isLossy,
    });
    return true;
  }

  /** The next probe of the examination; null while answers are awaited, and when none runs. */
  nextProbe(nowMs: number): Probe | null {
    return this.#examination?.next(nowMs) ?? null;
  }

  /** Records the outcome of a routine probe. Returns whether the path is to be examined. */
  noteRoutine(probe: Probe, outcome: Outcome): boolean {
    const isGuess = probe.kind !== "outer" && this.#isInnerGuessed;
    this.#remember(probe, outcome);
    if (probe.kind === "outer" && this.target.isInnerCertain) return false;
    if (isAnswered(outcome)) {
      if (this.#state.state === "unknown") this.#state = GOOD;
      // An answer of a bad path is news.
      return this.#state.state === "bad";
    }
    // Of an address that the peer may not have, only this host's own refusal tells anything.
    if (isGuess) return outcome.type === "error" && outcome.text === "EPERM";
    // Silence is what is expected of a bad path, and of one that nothing is proven of.
    return this.#state.state === "good" || (this.#state.state === "unknown" && !this.wasExamined);
  }

  /** Records the outcome of a probe of the examination. Returns the evidence once there is some to judge. */
  noteExamined(probe: Probe, outcome: Outcome): Evidence | null {
    this.#remember(probe, outcome);
    this.#examination?.note(probe, outcome);
    const evidence = this.#examination?.evidence ?? null;
    const full = this.#report?.outcome;
    return evidence?.full.type === "silent" && full !== undefined ? { ...evidence, full } : evidence;
  }

  /** Takes an answer that came after its probe had been given up. Returns whether the path is to be examined. */
  noteLate(late: LateAnswer): boolean {
    if (late.isLarge || !this.#late?.isLarge) this.#late = late;
    // A path that loses packets, or answers late, is examined often enough.
    return !this.isExamining && this.#state.state !== "good" && ![LATE, LOSS].includes(codeOf(this.#state));
  }

  /** Takes the verdict on the evidence; ends an examination that is complete. Returns whether the state that is shown has changed. */
  conclude(verdict: Judgement, evidence: Evidence, nowMs: number): boolean {
    const before = this.#state;
    const judged = this.#isOfLoss(verdict, evidence) ? "undecided" : verdict;
    if (codeOf(before) === LOSS) this.#loss.endIfOver();
    const proven = judged === "undecided" ? null : judged;
    const cause = (this.#isExcused(proven, nowMs) ? null : proven) ?? this.#lossCause(evidence);
    if (cause !== null) {
      const sinceMs = before.state === "bad" ? before.sinceMs : nowMs;
      this.#state = { state: "bad", cause: this.#refined(cause), sinceMs };
    } else if (judged !== "undecided" || !isStillOpen(before, evidence))
      this.#state = proven === null && this.#isProven(judged, evidence) ? GOOD : UNKNOWN;
    // An outage counts little, and where outages follow each other, packets are lost.
    if (proven !== null && !OF_SILENCE.has(proven.code)) this.#loss.clear();
    this.#measured = describeEvidence(evidence);
    const isSilent = this.#state.state === "unknown" && judged === null;
    this.#repeatMs = isSilent ? Math.min(this.#repeatMs * 2, LONGEST_REPEAT_MS) : REPEAT_MS;
    if (this.#examination?.isComplete) {
      this.#examination = null;
      this.#examinations += 1;
      this.#late = null;
      if (this.#report !== null && ++this.#report.examinations >= REPORT_EXAMINATIONS) this.#report = null;
    }
    return codeOf(before) !== codeOf(this.#state);
  }

  /** While a cause is measured again, what is known of it stays until all is measured. */
  #refined(cause: Cause): Cause {
    const before = this.#state;
    const isOpen = this.#examination?.isComplete === false;
    return isOpen && before.state === "bad" && before.cause.code === cause.code ? before.cause : cause;
  }

  /** That the path works. */
  #isProven(judged: Judgement, evidence: Evidence): boolean {
    if (isInnerAnswered(evidence)) return true;
    // An address inside that has answered, and may be gone: nothing is known.
    const isInnerLost = !this.target.isInnerCertain && this.#history.inner;
    return judged === null && !isInnerLost && isAnswered(evidence.outer);
  }

  #isExcused(cause: Cause | null, nowMs: number): boolean {
    if (cause === null || this.#history.inner || AT_ONCE.has(cause.code)) return false;
    return nowMs - this.#createdMs < NEW_MS;
  }

  /** Where much is known to be lost, an examination may get no answer by chance. */
  #isOfLoss(verdict: Judgement, evidence: Evidence): boolean {
    if (codeOf(this.#state) !== LOSS || this.#loss.isOutage) return false;
    if (verdict === null) return !isInnerAnswered(evidence);
    return verdict !== "undecided" && OF_SILENCE.has(verdict.code);
  }

  /** Where much is lost, all echo requests of an examination may be, and TCP tries again. */
  #lossCause(evidence: Evidence): Cause | null {
    if (!isInnerAnswered(evidence)) return null;
    return this.#loss.cause(codeOf(this.#state) === LOSS, this.#history.tcp);
  }

  #remember({ kind }: Probe, outcome: Outcome): void {
    const known = kind === "tcp" || kind === "syn" ? "tcp" : kind === "outer" ? "outer" : "inner";
    const isLost = !isAnswered(outcome);
    // Pings that search for the largest size are meant to fail.
    const isPing = kind === "full" || kind === "small";
    if (isPing) {
      if (outcome.type !== "silent") this.#report = reportOf(outcome);
      this.#silentPings = isLost ? this.#silentPings + 1 : 0;
    }
    if (kind !== "outer") this.#loss.notePacket(isLost);
    // What was sent before the peer was ready is not lost.
    if (this.#history[known] || !isLost) {
      if (isPing) this.#loss.notePing(isLost);
      if (kind === "tcp") this.#loss.noteConnection(isLost);
    }
    // A segment with a checksum of our own says nothing of those that the kernel sends.
    if (!isAnswered(outcome) || kind === "syn") return;
    if (!this.#history[known]) this.#history = { ...this.#history, [known]: true };
    if (known !== "inner") return;
    const { roundTripMs } = outcome;
    const smoothed = this.#roundTripMs ?? roundTripMs;
    this.#roundTripMs = smoothed + (roundTripMs - smoothed) * SMOOTHING;
  }
}

/** Null for an answer, and for what this host itself says. */
function reportOf(outcome: Outcome): { readonly outcome: Outcome; examinations: number } | null {
  return outcome.type === "error" && outcome.from !== undefined ? { outcome, examinations: 0 } : null;
}

function isInnerAnswered({ small, full, tcp }: Evidence): boolean {
  return [small, full, tcp].some(isAnswered);
}

/** Whether evidence that proves nothing leaves a cause as it is. */
function isStillOpen(before: PathState, evidence: Evidence): boolean {
  if (before.state !== "bad") return false;
  const kind = KIND_OF[before.cause.code];
  return !isInnerAnswered(evidence) || (kind !== undefined && !isAnswered(evidence[kind]));
}

function codeOf(state: PathState): string {
  return state.state === "bad" ? state.cause.code : state.state;
}
