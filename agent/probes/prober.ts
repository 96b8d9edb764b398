/**
 * Probes the paths to all peers, and says which are broken and why.
 *
 * Connects the parts: probe-plan.ts chooses who is next, echo-line.ts and tcp-probe.ts carry packets, path-watch.ts
 * keeps what is known of each path, causes.ts judges. It changes nothing in the kernel or the store, and a pause in the event
 * loop only delays it.
 */

import { HEADER_BYTES } from "../../backends/probe/echo-port.ts";
import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { type Cause, type History, judge, type LocalFacts } from "./causes.ts";
import type { EchoLine } from "./echo-line.ts";
import { PathWatch } from "./path-watch.ts";
import { isAnswered, type Outcome, type Probe, type ProbeTarget } from "./probe.ts";
import { ProbePlan } from "./probe-plan.ts";
import { UsageTracker } from "./usage.ts";

export interface ProberOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  /** Packets per second for all peers together. */
  readonly perSecond: number;
  /** A family without one is not probed. */
  readonly lines: PerFamily<EchoLine>;
  readonly probeTcp: (target: Address, settle: (outcome: Outcome) => void) => void;
  /** Reads the kernel; some microseconds. */
  readonly factsOf: (target: ProbeTarget) => LocalFacts;
  /** Called when a target's outer address is silent, so that facts about the link are fresh when it is judged. */
  readonly askLink: (target: ProbeTarget) => void;
  /** Every answer through the tunnel, in milliseconds. */
  readonly onRoundTrip: (roundTripMs: number) => void;
  /** The name of a peer's host; null where it is not known. */
  readonly hostNameOf: (peer: LeaseKey) => string | null;
  readonly onProbe: (isLost: boolean) => void;
  /** A path became good or bad, or its cause changed. */
  readonly onChange: () => void;
  /** When others of this daemon probed a target last. */
  readonly alsoProbedMs?: (id: string) => number;
}

/** The path to a peer as it is shown: of its families the worst. */
export interface PathHealth {
  readonly state: "unknown" | "good" | "bad";
  /** Smoothed; null before the first answer. */
  readonly roundTripMs: number | null;
  /** Of probes through the tunnel, smoothed, 0 to 1; null before the first answer. */
  readonly lossRatio: number | null;
  readonly cause: (Cause & { readonly sinceMs: number }) | null;
}

/** How often the plan is asked; a packet may be late by this. */
const TICK_MS = 50;
const SMALL_PAYLOAD_BYTES = 16;

export class Prober {
  readonly #options: ProberOptions;
  readonly #plan: ProbePlan;
  readonly #sleep: Sleep;
  readonly #usage = new UsageTracker();
  #watches: ReadonlyMap<string, PathWatch> = new Map();
  #byPeer: ReadonlyMap<LeaseKey, readonly PathWatch[]> = new Map();
  #elsewhere: History = { inner: false, tcp: false, outer: false };

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#plan = new ProbePlan(options);
    this.#sleep = new Sleep(options.clock);
  }

  /** Replaces all targets, sorted by id. What is known of one that stays as it was is kept. */
  setTargets(targets: readonly ProbeTarget[], ownKey: string): void {
    const { lines } = this.#options;
    const probed = targets.filter(
      ({ family, outer }) => lines[family] !== undefined && lines[outer.family] !== undefined,
    );
    const former = this.#watches;
    const entries = probed.map((target): [string, PathWatch] => [
      target.id,
      watchOf(target, former.get(target.id)),
    ]);
    this.#watches = new Map(entries);
    this.#byPeer = groupByPeer(this.#watches.values());
    this.#plan.setTargets(probed, ownKey);
  }

  /**
   * Takes one more look at which peers are in use; `intervalMs` is how often those are probed. Answers the ids of their
   * targets.
   */
  noteUses(uses: ReadonlyMap<string, number>, intervalMs: number): ReadonlySet<string> {
    const { clock, alsoProbedMs = () => Number.NEGATIVE_INFINITY } = this.#options;
    const targets = [...this.#watches.values()].map(({ target }) => target);
    const probedMs = (id: string): number => Math.max(this.#plan.probedMs(id), alsoProbedMs(id));
    const busy = this.#usage.sample(targets, uses, probedMs, clock.monotonicMs());
    this.#plan.setBusy(busy, intervalMs);
    return busy;
  }

  health(peer: LeaseKey): PathHealth {
    const watches = this.#byPeer.get(peer) ?? [];
    const bad = watches.flatMap(({ state }) => (state.state === "bad" ? [state] : []))[0];
    const roundTrips = watches.flatMap(({ roundTripMs }) => roundTripMs ?? []);
    const losses = watches.flatMap(({ lossRatio }) => lossRatio ?? []);
    return {
      state: bad ? "bad" : watches.some(({ state }) => state.state === "good") ? "good" : "unknown",
      roundTripMs: roundTrips.length === 0 ? null : Math.max(...roundTrips),
      lossRatio: losses.length === 0 ? null : Math.max(...losses),
      cause: bad === undefined ? null : { ...bad.cause, sinceMs: bad.sinceMs },
    };
  }

  /** Probes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const tick = guarded(this.#options.faults, "probing peers", () => this.#tick());
    while (!signal.aborted) {
      tick();
      await this.#sleep.for(TICK_MS, signal);
    }
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
    for (const { id } of this.#plan.urgent(nowMs)) {
      const watch = this.#watches.get(id);
      if (watch === undefined) continue;
      if (watch.state.state === "unknown" && !watch.isExamining && !watch.wasExamined) {
        this.#plan.settle(id);
        this.#probeOnce(watch);
        return true;
      }
      watch.examine();
      const probe = watch.nextProbe();
      if (probe === null) continue;
      this.#send(watch.target, probe, (outcome) => this.#noteExamined(watch, probe, outcome));
      return true;
    }
    return false;
  }

  #probeRoutine(nowMs: number): boolean {
    const target = this.#plan.routine(nowMs);
    const watch = target === null ? undefined : this.#watches.get(target.id);
    if (watch === undefined || watch.isExamining) return false;
    this.#probeOnce(watch);
    return true;
  }

  #probeOnce(watch: PathWatch): void {
    const probe = watch.routine();
    this.#send(watch.target, probe, (outcome) => {
      const before = watch.state.state;
      watch.noteRoutine(probe, outcome);
      if (watch.isExamining) this.#plan.hurry(watch.target.id, this.#options.clock.monotonicMs());
      if (watch.state.state !== before) this.#options.onChange();
    });
  }

  #send(target: ProbeTarget, probe: Probe, settle: (outcome: Outcome) => void): void {
    const { lines, probeTcp, onRoundTrip, onProbe } = this.#options;
    this.#plan.spend();
    const note = (outcome: Outcome): void => {
      if (this.#watches.get(target.id)?.target !== target) return; // it has changed or left meanwhile
      onProbe(!isAnswered(outcome));
      if (isAnswered(outcome)) {
        if (probe.kind !== "outer" && probe.kind !== "tcp") onRoundTrip(outcome.roundTripMs);
        this.#elsewhere = withAnswer(this.#elsewhere, probe);
      }
      settle(outcome);
    };
    if (probe.kind === "tcp") {
      probeTcp(target.inner, note);
      return;
    }
    const address = probe.kind === "outer" ? target.outer : target.inner;
    const line = lines[address.family];
    if (line === undefined) note({ type: "error", text: "no socket of this family" });
    else line.send(address, bytesOf(probe, target), note);
  }

  #noteExamined(watch: PathWatch, probe: Probe, outcome: Outcome): void {
    const { target } = watch;
    if (probe.kind === "outer" && !isAnswered(outcome)) this.#options.askLink(target);
    const evidence = watch.noteExamined(probe, outcome);
    if (evidence === null) return;
    const cause = judge({
      target,
      evidence,
      facts: this.#options.factsOf(target),
      before: watch.history,
      elsewhere: this.#elsewhere,
    });
    const nowMs = this.#options.clock.monotonicMs();
    const isChanged = watch.conclude(cause, evidence, nowMs);
    if (!watch.isExamining) this.#planNext(watch, nowMs);
    if (!isChanged) return;
    this.#report(watch);
    this.#options.onChange();
  }

  #planNext({ target: { id }, repeatMs }: PathWatch, nowMs: number): void {
    if (repeatMs === null) this.#plan.settle(id);
    else this.#plan.hurry(id, nowMs + repeatMs);
  }

  #report({ state, target: { peer, family } }: PathWatch): void {
    const { logger, hostNameOf } = this.#options;
    const host = hostNameOf(peer);
    const path = { peer, ...(host === null ? {} : { host }), family: `IPv${family}` };
    if (state.state === "bad") {
      const { code, text, remedy } = state.cause;
      logger.warn("the path to a peer is broken", { ...path, cause: code, seen: text, remedy });
    } else logger.info("the path to a peer works", path);
  }
}

/** A watch for the target; the former one if nothing about the target has changed. */
function watchOf(target: ProbeTarget, former: PathWatch | undefined): PathWatch {
  return former !== undefined && isSameTarget(former.target, target) ? former : new PathWatch(target);
}

function isSameTarget(a: ProbeTarget, b: ProbeTarget): boolean {
  return a.path === b.path && a.mtuBytes === b.mtuBytes && a.inner.equals(b.inner) && a.outer.equals(b.outer);
}

function groupByPeer(watches: Iterable<PathWatch>): ReadonlyMap<LeaseKey, readonly PathWatch[]> {
  const groups = new Map<LeaseKey, PathWatch[]>();
  for (const watch of watches) {
    const group = groups.get(watch.target.peer);
    if (group === undefined) groups.set(watch.target.peer, [watch]);
    else group.push(watch);
  }
  return groups;
}

function bytesOf(probe: Probe, { family, mtuBytes }: ProbeTarget): number {
  if (probe.kind === "full") return mtuBytes;
  return probe.kind === "size" ? probe.bytes : HEADER_BYTES[family] + SMALL_PAYLOAD_BYTES;
}

function withAnswer(history: History, { kind }: Probe): History {
  const known = kind === "tcp" || kind === "outer" ? kind : "inner";
  return history[known] ? history : { ...history, [known]: true };
}
