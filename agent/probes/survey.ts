/** Measures paths now, for a person who waits: round trips, loss, what passes, and why not. */

import { HEADER_BYTES } from "../../backends/probe/echo-port.ts";
import type { Address, PerFamily } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { Case, History, LateAnswer, LocalFacts } from "./case.ts";
import { type Cause, causeOf } from "./causes.ts";
import type { EchoLine } from "./echo-line.ts";
import { Examination, WAVE_MS } from "./examination.ts";
import { isOnLink, judge } from "./judgement.ts";
import type { Inspection } from "./local-facts.ts";
import { type Evidence, isAnswered, type Outcome, type Probe, type ProbeTarget } from "./probe.ts";
import { otherPathId } from "./targets.ts";

export interface SurveyOptions {
  readonly clock: Clock;
  /** For what goes through the network, from this host or from one of its containers. */
  readonly lines: PerFamily<EchoLine>;
  /** For what goes beside it, from this host. */
  readonly outerLines: PerFamily<EchoLine>;
  readonly probeTcp: (target: Address, settle: (outcome: Outcome) => void) => void;
  readonly probeSyn: (target: Address, settle: (outcome: Outcome) => void) => void;
  /** What is known from before, by the targets' ids. */
  readonly histories: Readonly<Record<string, History>>;
  readonly inspect: (target: ProbeTarget) => Inspection;
  /** Small echo requests to each target. */
  readonly count: number;
  /** Called when a target is through. */
  readonly onProgress: (done: number) => void;
}

export interface PathMeasure {
  readonly target: ProbeTarget;
  readonly sent: number;
  /** Of the answered ones, ascending. */
  readonly roundTripsMs: readonly number[];
  /** Largest packet that passes, in bytes; null when that is not known. */
  readonly passesBytes: number | null;
  readonly answersTcp: boolean;
  readonly cause: Cause | null;
}

/** Targets that are measured at the same time. */
const PARALLEL = 64;
/** The same where something is wrong: of more the tunnel packets cannot be watched at a time. */
const PARALLEL_BROKEN = 16;
/** Between echo requests to one target. */
const INTERVAL_MS = 50;
const PAYLOAD_BYTES = 56;
/** A healthy network that is busy loses one packet now and then, and far less than this share of many. */
const LEAST_LOST = 2;
const LOSSY_SHARE = 0.02;

interface Measured {
  readonly target: ProbeTarget;
  readonly sent: number;
  readonly roundTripsMs: readonly number[];
  readonly evidence: Evidence;
  readonly facts: LocalFacts;
  readonly late: LateAnswer | null;
  readonly taken: number;
}

interface ExaminationParts {
  readonly inspection: Inspection;
  readonly onLate: (late: LateAnswer) => void;
  readonly signal: AbortSignal;
}

export class Survey {
  readonly #options: SurveyOptions;
  #done = 0;

  constructor(options: SurveyOptions) {
    this.#options = options;
  }

  /** In the order of `targets`. Rejects with the signal's reason when it fires. */
  async run(targets: readonly ProbeTarget[], signal: AbortSignal): Promise<readonly PathMeasure[]> {
    const first = await this.#measureAll(targets, PARALLEL, signal);
    const unwatched = first.filter(isUnwatched);
    this.#done -= unwatched.length;
    const second = await this.#measureAll(
      unwatched.map(({ target }) => target),
      PARALLEL_BROKEN,
      signal,
    );
    const again = new Map(second.map((one) => [one.target, one]));
    const measured = first.map((one) => again.get(one.target) ?? one);
    const elsewhere = seenAnywhere(measured);
    const byId = new Map(measured.map((one) => [one.target.id, one]));
    return measured.map((one) => {
      const other = byId.get(otherPathId(one.target));
      const isPeerUp = other !== undefined && isAnswering(other);
      return this.#conclude(one, {
        ...{ elsewhere, isPeerUp, isFirewallFound: false },
        isPeerOnLink: other !== undefined && isOnLink(other.facts),
      });
    });
  }

  async #measureAll(
    targets: readonly ProbeTarget[],
    parallel: number,
    signal: AbortSignal,
  ): Promise<readonly Measured[]> {
    const measured: Measured[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let index = next++; index < targets.length; index = next++) {
        const target = targets[index];
        if (target === undefined) continue;
        measured[index] = await this.#measure(target, signal);
        this.#options.onProgress(++this.#done);
      }
    };
    await Promise.all(Array.from({ length: Math.min(parallel, targets.length) }, work));
    return measured;
  }

  async #measure(target: ProbeTarget, signal: AbortSignal): Promise<Measured> {
    const { clock, count } = this.#options;
    const { family, mtuBytes } = target;
    const series: Promise<Outcome>[] = [];
    let late: LateAnswer | null = null;
    const onLate = (one: LateAnswer): void => {
      if (one.isLarge || !late?.isLarge) late = one;
    };
    for (let sent = 0; sent < count; sent++) {
      if (sent > 0) await clock.sleep(INTERVAL_MS, signal);
      series.push(this.#send(target, { kind: "small" }));
    }
    const outcomes = await Promise.all(series);
    const roundTripsMs = outcomes.flatMap((one) => (isAnswered(one) ? [one.roundTripMs] : []));
    const inspection = this.#options.inspect(target);
    try {
      inspection.begin();
      const isLossy = roundTripsMs.length > 0 && roundTripsMs.length < count;
      const examined = await this.#examine(target, new Examination(family, mtuBytes, { isLossy }), {
        ...{ inspection, onLate, signal },
      });
      const evidence = withSeries(examined.evidence, outcomes);
      const facts = inspection.facts();
      roundTripsMs.sort((a, b) => a - b);
      return { target, sent: count, roundTripsMs, evidence, facts, late, taken: examined.taken };
    } finally {
      inspection.end();
    }
  }

  async #examine(
    target: ProbeTarget,
    examination: Examination,
    { inspection, onLate, signal }: ExaminationParts,
  ): Promise<{ readonly evidence: Evidence; readonly taken: number }> {
    const { clock } = this.#options;
    let inFlight: Promise<void>[] = [];
    let taken = 0;
    while (!examination.isComplete) {
      signal.throwIfAborted();
      const probe = examination.next(clock.monotonicMs());
      if (probe === null) {
        // The next attempt does not wait for the last answers.
        await Promise.race([Promise.all(inFlight), clock.sleep(WAVE_MS, signal)]);
        continue;
      }
      const outcome = this.#send(target, probe, onLate).then((one) => {
        if (probe.kind === "outer" && !isAnswered(one)) inspection.askLink();
        if (probe.kind !== "outer" && isAnswered(one)) taken += 1;
        examination.note(probe, one);
        inFlight = inFlight.filter((other) => other !== outcome);
      });
      inFlight.push(outcome);
    }
    const { evidence } = examination;
    if (evidence === null) throw new Error("a complete examination has evidence");
    return { evidence, taken };
  }

  #send(target: ProbeTarget, probe: Probe, onLate?: (late: LateAnswer) => void): Promise<Outcome> {
    const { lines, outerLines, probeTcp, probeSyn } = this.#options;
    return new Promise((resolve) => {
      if (probe.kind === "tcp") return void probeTcp(target.inner, resolve);
      if (probe.kind === "syn") return void probeSyn(target.inner, resolve);
      const isOuter = probe.kind === "outer";
      const address = isOuter ? target.outer : target.inner;
      const line = (isOuter ? outerLines : lines)[address.family];
      if (line === undefined) resolve({ type: "error", text: "no socket of this family" });
      else {
        const isLarge = probe.kind === "full";
        const noteLate = (ms: number): void => onLate?.({ ms, isLarge });
        line.send(address, bytesOf(probe, target), resolve, isOuter ? {} : { onLate: noteLate });
      }
    });
  }

  #conclude(
    { target, evidence, facts, late, taken, sent, roundTripsMs }: Measured,
    known: Pick<Case, "elsewhere" | "isPeerUp" | "isPeerOnLink" | "isFirewallFound">,
  ): PathMeasure {
    const measured = historyOf(evidence);
    const before = this.#options.histories[target.id] ?? measured;
    const judged = judge({ target, evidence, facts, late, taken, before, ...known });
    const proven = judged === "undecided" ? null : judged;
    const cause = proven ?? (measured.inner ? lossOf(sent, sent - roundTripsMs.length) : null);
    const passesBytes = isAnswered(evidence.full) ? target.mtuBytes : evidence.passesBytes;
    return { target, sent, roundTripsMs, passesBytes, answersTcp: isAnswered(evidence.tcp), cause };
  }
}

/** The cause of a path that answers, and loses so much that it is not by chance; null otherwise. */
export function lossOf(sent: number, lost: number): Cause | null {
  if (lost < LEAST_LOST || lost < sent * LOSSY_SHARE) return null;
  return causeOf("packets-lost", `answers, but ${lost} of ${sent} packets were lost`);
}

/** `unknown`: nothing answers, and nothing is proven. */
export function verdictOf({ cause, roundTripsMs, answersTcp }: PathMeasure): "works" | "broken" | "unknown" {
  if (cause !== null) return "broken";
  return roundTripsMs.length > 0 || answersTcp ? "works" : "unknown";
}

function bytesOf(probe: Probe, { family, mtuBytes }: ProbeTarget): number {
  if (probe.kind === "full") return mtuBytes;
  return probe.kind === "size" ? probe.bytes : HEADER_BYTES[family] + PAYLOAD_BYTES;
}

/** Nothing inside answers, and the tunnel's packets were not watched. */
function isUnwatched(measured: Measured): boolean {
  const { facts } = measured;
  // A host that is down needs no such look.
  return facts.isTunnelUnwatched && facts.neighbour !== "silent" && !isAnswering(measured);
}

/**
 * With what the small packets before the examination showed. One that was answered shows that the path loses packets where
 * the examination has no answer; what a host reported tells more than silence, and it sends one report a second.
 */
function withSeries(evidence: Evidence, outcomes: readonly Outcome[]): Evidence {
  if (evidence.small.type !== "silent") return evidence;
  const answered = outcomes.find(isAnswered);
  if (answered !== undefined) return { ...evidence, small: answered, isLossy: true };
  const report = outcomes.find(({ type }) => type === "error");
  return report === undefined ? evidence : { ...evidence, small: report };
}

function isAnswering({ evidence: { small, full, tcp } }: Measured): boolean {
  return [small, full, tcp].some(isAnswered);
}

function historyOf({ small, full, tcp, outer }: Evidence): History {
  return { inner: isAnswered(small) || isAnswered(full), tcp: isAnswered(tcp), outer: isAnswered(outer) };
}

function seenAnywhere(measured: readonly Measured[]): History {
  const histories = measured.map(({ evidence }) => historyOf(evidence));
  const some = (kind: keyof History): boolean => histories.some((history) => history[kind]);
  return { inner: some("inner"), tcp: some("tcp"), outer: some("outer") };
}
