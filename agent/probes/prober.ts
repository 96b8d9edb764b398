/**
 * Probes the paths to all peers, and says which are broken and why.
 *
 * Connects the parts: probe-plan.ts chooses who is next, echo-line.ts and tcp-probe.ts carry packets, path-watch.ts
 * keeps what is known of each path, causes.ts judges. It changes nothing in the kernel or the store, and a pause in the event
 * loop only delays it.
 */

import { HEADER_BYTES } from "../../backends/probe/echo-port.ts";
import { type Address, entriesOf, FAMILIES, type PerFamily } from "../../ipam/addresses/ip.ts";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { LastHeard } from "./agent-signs.ts";
import type { History } from "./case.ts";
import type { CauseCode } from "./causes.ts";
import type { EchoLine } from "./echo-line.ts";
import { isOnLink, judge } from "./judgement.ts";
import type { Inspection } from "./local-facts.ts";
import { Looks } from "./looks.ts";
import { type PathCause, pathCause } from "./path-cause.ts";
import { type PathState, PathWatch } from "./path-watch.ts";
import { isAnswered, type Outcome, type Probe, type ProbeTarget } from "./probe.ts";
import { ProbePlan } from "./probe-plan.ts";
import { otherPathId, targetId } from "./targets.ts";
import { UsageTracker } from "./usage.ts";

export interface ProberOptions {
  readonly clock: Clock;
  /** A path became good or bad, or its cause changed. */
  readonly onChange: (target: ProbeTarget, state: PathState) => void;
  readonly faults: Faults;
  /** Packets per second for all peers together. */
  readonly perSecond: number;
  /** A family without one is not probed. */
  readonly lines: PerFamily<EchoLine>;
  readonly probeTcp: (target: Address, settle: (outcome: Outcome) => void) => void;
  readonly probeSyn: (target: Address, settle: (outcome: Outcome) => void) => void;
  /** Called when an examination begins. */
  readonly inspect: (target: ProbeTarget) => Inspection;
  /** Every answer through the tunnel, in milliseconds. */
  readonly onRoundTrip: (roundTripMs: number) => void;
  readonly onProbe: (isLost: boolean) => void;
  /** When others of this daemon probed a target last. */
  readonly alsoProbedMs?: (id: string) => number;
}

/** The path to a peer as it is shown: of its families the worst. */
export interface PathHealth {
  readonly state: "unknown" | "good" | "bad";
  /** Smoothed; null before the first answer. */
  readonly roundTripMs: number | null;
  readonly cause: PathCause | null;
  /** Share of the last packets that were lost, between 0 and 1; null before enough packets. */
  readonly lossShare: number | null;
  /** What was measured where nothing is proven, in a few words; null while something is known. */
  readonly measured: string | null;
  /** The peer's agent used to probe this host, and does so no more. */
  readonly isAgentQuiet: boolean;
}

/** How often the plan is asked while a path is examined, and answers are waited for; a packet may be late by this. */
const TICK_MS = 100;
/** The same while the budget is spent: what waits for it goes in bursts, because each wake-up costs more than a packet. */
const BUDGET_TICK_MS = 250;
/** The same for what is routine, which waits for nothing. */
const ROUTINE_TICK_MS = 1_000;
/** A change of the targets ends a pause. */
const LONGEST_PAUSE_MS = 60_000;
const SMALL_PAYLOAD_BYTES = 16;
/** Examinations that may await answers at the same time. */
const MOST_WAITING = 32;
/** With more broken paths than this, each is looked at less often: what is known must not keep what is new waiting. */
const OFTEN_REPEATED = 6;
const LONGEST_DELAY_MS = 60_000;

export class Prober {
  readonly #options: ProberOptions;
  readonly #plan: ProbePlan;
  readonly #usage = new UsageTracker();
  readonly #sleep: Sleep;
  #watches: ReadonlyMap<string, PathWatch> = new Map();
  #byInner: ReadonlyMap<string, PathWatch> = new Map();
  #elsewhere: History = { inner: false, tcp: false, outer: false };
  readonly #looks: Looks;
  readonly #lastHeard = new LastHeard();

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#plan = new ProbePlan({ perSecond: options.perSecond, tickMs: ROUTINE_TICK_MS });
    this.#sleep = new Sleep(options.clock);
    this.#looks = new Looks(options.inspect);
  }

  /** Replaces all targets, sorted by id. What is known of one that stays as it was is kept. */
  setTargets(targets: readonly ProbeTarget[], ownKey: string): void {
    const { lines } = this.#options;
    const probed = targets.filter(
      ({ family, outer }) => lines[family] !== undefined && lines[outer.family] !== undefined,
    );
    const former = this.#watches;
    const nowMs = this.#options.clock.monotonicMs();
    const entries = probed.map((target): [string, PathWatch] => [
      target.id,
      watchOf(target, former.get(target.id), nowMs),
    ]);
    this.#watches = new Map(entries);
    for (const [id, watch] of former) if (this.#watches.get(id) !== watch) this.#looks.end(id);
    this.#byInner = new Map(
      [...this.#watches.values()].map((watch) => [watch.target.inner.toString(), watch]),
    );
    this.#lastHeard.keep((peer) => FAMILIES.some((family) => this.#watches.has(targetId(peer, family))));
    this.#plan.setTargets(probed, ownKey);
    this.#sleep.wake();
  }

  /**
   * Takes one more look at which peers are in use; `intervalMs` is how often those are probed. Answers the ids of their
   * targets.
   */
  noteUses(uses: ReadonlyMap<string, number>, intervalMs: number): ReadonlySet<string> {
    const { clock, alsoProbedMs = () => Number.NEGATIVE_INFINITY } = this.#options;
    const probedMs = (id: string): number => Math.max(this.#plan.probedMs(id), alsoProbedMs(id));
    const busy = this.#usage.sample(this.#targetsAt(uses), uses, probedMs, clock.monotonicMs());
    this.#plan.setBusy(busy, intervalMs);
    if (busy.size > 0) this.#sleep.wake();
    return busy;
  }

  health(peer: LeaseKey): PathHealth {
    const paths = FAMILIES.flatMap((family) => {
      const watch = this.#watches.get(targetId(peer, family));
      return watch === undefined ? [] : [{ family, watch, state: watch.state }];
    });
    const watches = paths.map(({ watch }) => watch);
    const cause = pathCause(paths);
    const isProven = watches.length > 0 && watches.every(({ state }) => state.state === "good");
    const nowMs = this.#options.clock.monotonicMs();
    const { turnMs } = this.#plan;
    // It probes by each family that this host hears it by.
    const heard = watches.filter(({ signs }) => signs.isKnown);
    const signs = heard.map((watch) => watch.signs);
    const isQuiet = heard.every((watch) => !watch.isPingFiltered && watch.signs.isQuiet(nowMs, turnMs));
    return {
      state: cause !== null ? "bad" : isProven ? "good" : "unknown",
      roundTripMs: worst(watches.map(({ roundTripMs }) => roundTripMs)),
      cause,
      lossShare: worst(watches.map(({ lossShare }) => lossShare)),
      measured: watches.map(({ measured }) => measured).find((text) => text !== null) ?? null,
      isAgentQuiet: heard.length > 0 && isQuiet && !this.#lastHeard.isDeaf(peer, signs, turnMs),
    };
  }

  /** What former probes of each target showed, by its id. */
  get histories(): Readonly<Record<string, History>> {
    return Object.fromEntries([...this.#watches].map(([id, { history }]) => [id, history]));
  }

  /** Looks at all targets: an index by address takes more memory than this takes time once a second. */
  *#targetsAt(outer: ReadonlyMap<string, unknown>): Iterable<ProbeTarget> {
    if (outer.size === 0) return;
    for (const { target } of this.#watches.values()) if (outer.has(target.outer.toString())) yield target;
  }

  /** An agent probes this host from this address. */
  heard(from: Address): void {
    const watch = this.#byInner.get(from.toString());
    if (watch === undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    watch.signs.note(nowMs, this.#plan.turnMs);
    this.#lastHeard.note(watch.target.peer, nowMs);
  }

  /** Whether a path is bad for this cause at the moment. */
  isActive(code: CauseCode): boolean {
    for (const { state } of this.#watches.values()) {
      if (state.state === "bad" && state.cause.code === code) return true;
    }
    return false;
  }

  /** Probes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const tick = guarded(this.#options.faults, "probing peers", () => this.#tick());
    while (!signal.aborted) {
      tick();
      await this.#sleep.for(this.#pauseMs(), signal);
    }
  }

  /** Wakes the process only when there is something to do: a small network is at rest for most of the time. */
  #pauseMs(): number {
    const { urgentMs, routineMs } = this.#plan;
    const expiriesMs = entriesOf(this.#options.lines).map(([, line]) => line.expiryMs);
    const nowMs = this.#options.clock.monotonicMs();
    const tickMs = this.#plan.maySpend(nowMs) ? TICK_MS : BUDGET_TICK_MS;
    return Math.min(
      Math.max(Math.min(urgentMs, ...expiriesMs) - nowMs, tickMs),
      Math.max(routineMs - nowMs, ROUTINE_TICK_MS),
      LONGEST_PAUSE_MS,
    );
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [, line] of entriesOf(this.#options.lines)) line.expire();
    // Doubtful paths must not keep the others from being looked at.
    let isUrgentTurn = true;
    while (this.#plan.maySpend(nowMs)) {
      const isSent = isUrgentTurn
        ? this.#probeUrgent(nowMs) || this.#probeRoutine(nowMs)
        : this.#probeRoutine(nowMs) || this.#probeUrgent(nowMs);
      if (!isSent) return;
      isUrgentTurn = !isUrgentTurn;
    }
  }

  #probeUrgent(nowMs: number): boolean {
    let waiting = 0;
    for (const { id } of this.#plan.urgent(nowMs)) {
      const watch = this.#watches.get(id);
      if (watch === undefined) continue;
      if (watch.state.state === "unknown" && !watch.isExamining && !watch.wasExamined) {
        this.#plan.settle(id);
        this.#probeOnce(watch);
        return true;
      }
      this.#examine(watch);
      const probe = watch.nextProbe(nowMs);
      if (probe !== null) {
        this.#send(watch.target, probe, (outcome) => this.#noteExamined(watch, probe, outcome));
        return true;
      }
      waiting += 1;
      if (waiting >= MOST_WAITING) return false;
    }
    return false;
  }

  #probeRoutine(nowMs: number): boolean {
    const target = this.#plan.routine(nowMs);
    const watch = target === null ? undefined : this.#watches.get(target.id);
    if (watch === undefined || watch.isExamining) return false;
    if (this.#plan.isBusy(watch.target.id)) this.#probeInUse(watch, nowMs);
    else this.#probeOnce(watch);
    return true;
  }

  /** With a full packet each time, and examined as soon as its answer is late. */
  #probeInUse(watch: PathWatch, nowMs: number): void {
    const { id } = watch.target;
    const probe = watch.routine();
    const { lateAfterMs } = watch;
    if (probe.kind !== "full") this.#probeOnce(watch, probe);
    // Until something has answered, an address inside may be none of the peer's.
    if (probe.kind === "outer" && lateAfterMs === null) return;
    const lateMs = nowMs + (lateAfterMs ?? 0);
    const isSuspected = lateAfterMs !== null && this.#plan.suspect(id, lateMs);
    // An examination that has begun goes on to its end.
    const settled = isSuspected
      ? () => {
          if (!watch.isExamining) this.#plan.trust(id, lateMs);
        }
      : undefined;
    this.#probeOnce(watch, { kind: "full" }, settled);
  }

  #probeOnce(watch: PathWatch, probe = watch.routine(), settled: () => void = () => undefined): void {
    const { examinations } = watch;
    this.#send(watch.target, probe, (outcome) => {
      settled();
      if (!watch.noteRoutine(probe, outcome)) return;
      // One that was late has had its examination.
      if (!isAnswered(outcome) && watch.examinations > examinations) return;
      const nowMs = this.#options.clock.monotonicMs();
      const seriousMs = watch.seriousMs(outcome, nowMs);
      this.#plan.hurry(watch.target.id, seriousMs ?? nowMs);
      if (seriousMs === null) this.#examine(watch);
      this.#sleep.wake();
    });
  }

  #examine(watch: PathWatch): void {
    const { target } = watch;
    if (!watch.examine()) return;
    // A bad path is looked at from one examination to the next: what the peer sends in between is evidence too.
    const look = this.#looks.begin(target);
    look.isPeerUp = false;
    look.inspection.begin();
    const other = this.#watches.get(otherPathId(target));
    if (other?.state.state === "good" && !other.isExamining) this.#probeOnce(other);
  }

  #send(target: ProbeTarget, probe: Probe, settle: (outcome: Outcome) => void): void {
    const { lines, probeTcp, probeSyn, onRoundTrip, onProbe } = this.#options;
    this.#plan.spend();
    const note = (outcome: Outcome): void => {
      if (this.#watches.get(target.id)?.target !== target) return; // it has changed or left meanwhile
      // An address that the peer may not have proves nothing by its silence.
      if (isAnswered(outcome) || probe.kind === "outer" || target.isInnerCertain)
        onProbe(!isAnswered(outcome));
      if (isAnswered(outcome)) {
        if (isEcho(probe)) onRoundTrip(outcome.roundTripMs);
        this.#elsewhere = withAnswer(this.#elsewhere, probe);
        if (probe.kind !== "outer") this.#looks.noteTaken(target.id);
        const other = this.#looks.get(otherPathId(target));
        if (other !== undefined) other.isPeerUp = true;
      }
      settle(outcome);
    };
    const address = probe.kind === "outer" ? target.outer : target.inner;
    const line = lines[address.family];
    if (probe.kind === "tcp") probeTcp(address, note);
    else if (probe.kind === "syn") probeSyn(address, note);
    else if (line === undefined) note({ type: "error", text: "no socket of this family" });
    else
      line.send(address, bytesOf(probe, target), note, { onLate: (ms) => this.#noteLate(target, probe, ms) });
  }

  #noteLate(target: ProbeTarget, { kind }: Probe, roundTripMs: number): void {
    const watch = this.#watches.get(target.id);
    if (kind === "outer") return;
    this.#looks.noteTaken(target.id);
    if (watch === undefined || watch.target !== target) return;
    if (watch.noteLate({ ms: roundTripMs, isLarge: kind === "full" }))
      this.#plan.hurry(target.id, this.#options.clock.monotonicMs());
  }

  #noteExamined(watch: PathWatch, probe: Probe, outcome: Outcome): void {
    const { target } = watch;
    const look = this.#looks.get(target.id);
    if (probe.kind === "outer" && !isAnswered(outcome)) look?.inspection.askLink();
    const evidence = watch.noteExamined(probe, outcome);
    if (evidence === null || look === undefined) return;
    const facts = look.inspection.facts();
    look.isOnLink = isOnLink(facts);
    const cause = judge({
      target,
      evidence,
      facts,
      late: watch.late,
      taken: look.taken,
      before: watch.history,
      elsewhere: this.#elsewhere,
      isPeerUp: look.isPeerUp,
      isPeerOnLink: this.#looks.get(otherPathId(target))?.isOnLink === true,
      isFirewallFound: this.isActive("local-firewall"),
    });
    const nowMs = this.#options.clock.monotonicMs();
    const isChanged = watch.conclude(cause, evidence, nowMs);
    if (!watch.isExamining) this.#planNext(watch, nowMs);
    if (isChanged) this.#options.onChange(target, watch.state);
  }

  #planNext({ target, repeatMs, state }: PathWatch, nowMs: number): void {
    this.#looks.end(target.id);
    if (repeatMs === null) {
      this.#plan.settle(target.id);
      return;
    }
    const crowd = Math.max(1, this.#plan.repeats / OFTEN_REPEATED);
    this.#plan.repeat(target.id, nowMs + Math.max(repeatMs, Math.min(repeatMs * crowd, LONGEST_DELAY_MS)));
    if (state.state === "bad") this.#looks.begin(target);
  }
}

function worst(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function isEcho({ kind }: Probe): boolean {
  return kind === "full" || kind === "small" || kind === "size";
}

/** A watch for the target; the former one if nothing about the target has changed. */
function watchOf(target: ProbeTarget, former: PathWatch | undefined, nowMs: number): PathWatch {
  return former !== undefined && isSameTarget(former.target, target) ? former : new PathWatch(target, nowMs);
}

function isSameTarget(a: ProbeTarget, b: ProbeTarget): boolean {
  const isSame = a.path === b.path && a.mtuBytes === b.mtuBytes && a.sendsProbes === b.sendsProbes;
  return isSame && a.inner.equals(b.inner) && a.outer.equals(b.outer);
}

function bytesOf(probe: Probe, { family, mtuBytes }: ProbeTarget): number {
  if (probe.kind === "full") return mtuBytes;
  return probe.kind === "size" ? probe.bytes : HEADER_BYTES[family] + SMALL_PAYLOAD_BYTES;
}

function withAnswer(history: History, { kind }: Probe): History {
  if (kind === "syn") return history;
  const known = kind === "tcp" || kind === "outer" ? kind : "inner";
  return history[known] ? history : { ...history, [known]: true };
}
