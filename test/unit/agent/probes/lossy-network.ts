/** A prober on a clock of its own, over a network whose packets can be lost. */

import { setMaxListeners } from "node:events";
import { EchoLine, PATIENCE_MS } from "../../../../agent/probes/echo-line.ts";
import type { Inspection } from "../../../../agent/probes/local-facts.ts";
import type { Outcome, ProbeTarget } from "../../../../agent/probes/probe.ts";
import { type PathHealth, Prober } from "../../../../agent/probes/prober.ts";
import type { EchoEvent, EchoPort } from "../../../../backends/probe/echo-port.ts";
import type { Address } from "../../../../ipam/addresses/ip.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { type Random, randomNumbers } from "../../../support/random.ts";
import { FACTS } from "./case-fixture.ts";
import { TARGET } from "./target-fixture.ts";

const ANSWERED = { type: "answered", roundTripMs: 1 } as const;
/** This host has no fault. */
export const FAULTLESS: Inspection = {
  begin: () => undefined,
  facts: () => ({ ...FACTS, neighbour: "answers" }),
  askLink: () => undefined,
  end: () => undefined,
};

/** How often it is looked which peers are in use. */
const LOOK_MS = 500;
const FOR_EVER = new AbortController().signal;
setMaxListeners(0, FOR_EVER); // one for each packet on its way

export class LossyNetwork {
  readonly changes: string[] = [];
  /** When echo requests were sent, in milliseconds. */
  readonly sentMs: number[] = [];
  /** Share of all packets that is lost, each on its own, in percent. */
  percent = 0;
  /** The same of echo requests alone. */
  pingPercent = 0;
  /** Until an answer arrives. */
  delayMs = 0;
  /** All packets to it are lost. */
  silent: Address | null;
  readonly #clock = new FakeClock();
  readonly #stop = new AbortController();
  readonly #prober: Prober;
  readonly #random: Random;

  constructor(seed: number, targets: readonly ProbeTarget[] = [TARGET], silent: Address | null = null) {
    this.silent = silent;
    this.#random = randomNumbers(seed);
    const clock = this.#clock;
    this.#prober = new Prober({
      clock,
      faults: new Faults(silentLogger),
      perSecond: 20,
      lines: { 4: this.#line(), 6: this.#line() },
      probeTcp: (target, settle) => void this.#tcp(target).then(settle),
      probeSyn: (target, settle) => void this.#tcp(target).then(settle),
      inspect: () => FAULTLESS,
      onChange: (_, state) => void this.changes.push(state.state === "bad" ? state.cause.code : state.state),
      onRoundTrip: () => undefined,
      onProbe: () => undefined,
    });
    this.#prober.setTargets(targets, "10.2.1.0-24");
    void this.#prober.run(this.#stop.signal);
  }

  async #tcp(target: Address): Promise<Outcome> {
    const isLost = this.#isLost(target, this.percent) || this.delayMs > PATIENCE_MS;
    if (isLost || this.delayMs > 0) await this.#clock.sleep(isLost ? PATIENCE_MS : this.delayMs, FOR_EVER);
    return isLost ? { type: "silent" } : ANSWERED;
  }

  #isLost(target: Address, percent: number): boolean {
    return this.#random(100) < percent || (this.silent?.equals(target) ?? false);
  }

  #line(): EchoLine {
    const arriving: EchoEvent[] = [];
    let onReadable: () => void = () => undefined;
    const port = {
      send: (from: Address, sequence: number) => {
        this.sentMs.push(this.#clock.monotonicMs());
        if (this.#isLost(from, this.percent) || this.#random(100) < this.pingPercent) return;
        const arrive = (): void => {
          arriving.push({ type: "reply", from, sequence });
          onReadable();
        };
        if (this.delayMs === 0) queueMicrotask(arrive);
        else void this.#clock.sleep(this.delayMs, FOR_EVER).then(arrive);
      },
      receive: () => arriving.shift() ?? null,
      onReadable: (callback: () => void) => {
        onReadable = callback;
      },
    };
    const line = new EchoLine(port as unknown as EchoPort, () => this.#clock.monotonicMs(), 1);
    line.listen();
    return line;
  }

  /** From now on this host sends packets to the target all the time. */
  use(): void {
    const look = (): void => {
      const nowMs = this.#clock.monotonicMs();
      this.#prober.noteUses(new Map([[TARGET.outer.toString(), nowMs]]), 2 * LOOK_MS);
    };
    void (async () => {
      while (!this.#stop.signal.aborted) {
        look();
        await this.#clock.sleep(LOOK_MS, this.#stop.signal).catch(() => undefined);
      }
    })();
  }

  pass(seconds: number): Promise<void> {
    return this.#clock.advance(seconds * 1_000);
  }

  get health(): PathHealth {
    return this.healthOf(TARGET);
  }

  healthOf({ peer }: ProbeTarget): PathHealth {
    return this.#prober.health(peer);
  }

  /** The agent of a peer probes this host once. */
  hear({ inner }: ProbeTarget): void {
    this.#prober.heard(inner);
  }

  /** Seconds until the loss is named, or is not; at most `limit`. */
  async secondsUntil(isNamed: boolean, limit: number): Promise<number> {
    for (let seconds = 0; seconds < limit; seconds++) {
      if ((this.health.cause?.code === "packets-lost") === isNamed) return seconds;
      await this.pass(1);
    }
    return limit;
  }

  stop(): void {
    this.#stop.abort();
  }
}
