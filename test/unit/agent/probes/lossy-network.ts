/** A prober on a clock of its own, over a network whose packets can be lost. */

import { EchoLine } from "../../../../agent/probes/echo-line.ts";
import type { Inspection } from "../../../../agent/probes/local-facts.ts";
import type { Outcome, ProbeTarget } from "../../../../agent/probes/probe.ts";
import { type PathHealth, Prober } from "../../../../agent/probes/prober.ts";
import type { EchoEvent, EchoPort } from "../../../../backends/probe/echo-port.ts";
import type { Address } from "../../../../ipam/addresses/ip.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { randomNumbers } from "../../../support/random.ts";
import { TARGET } from "./target-fixture.ts";

const ANSWERED = { type: "answered", roundTripMs: 1 } as const;
/** This host has no fault. */
const INSPECTION: Inspection = {
  begin: () => undefined,
  facts: () => ({
    link: { name: "eth0", problem: null },
    obstacle: null,
    neighbour: "answers",
    neighbourMac: null,
    neighbourRefusals: 0,
    reversePathDrops: 0,
    checksumErrors: 0,
    tunnel: null,
  }),
  askLink: () => undefined,
  end: () => undefined,
};

/** Loses a share of the echo requests, in percent. */
export class LossyNetwork {
  readonly changes: string[] = [];
  percent = 0;
  /** All packets to it are lost. */
  silent: Address | null;
  readonly #clock = new FakeClock();
  readonly #stop = new AbortController();
  readonly #prober: Prober;

  constructor(seed: number, targets: readonly ProbeTarget[] = [TARGET], silent: Address | null = null) {
    this.silent = silent;
    const clock = this.#clock;
    this.#prober = new Prober({
      clock,
      faults: new Faults(silentLogger),
      perSecond: 20,
      lines: { 4: this.#line(seed) },
      probeTcp: (target, settle) => settle(this.#tcp(target)),
      probeSyn: (target, settle) => settle(this.#tcp(target)),
      inspect: () => INSPECTION,
      onChange: (_, state) => void this.changes.push(state.state === "bad" ? state.cause.code : state.state),
      onRoundTrip: () => undefined,
      onProbe: () => undefined,
    });
    this.#prober.setTargets(targets, "10.2.1.0-24");
    void this.#prober.run(this.#stop.signal);
  }

  #tcp(target: Address): Outcome {
    return this.silent?.equals(target) ? { type: "silent" } : ANSWERED;
  }

  #line(seed: number): EchoLine {
    const random = randomNumbers(seed);
    const arriving: EchoEvent[] = [];
    let onReadable: () => void = () => undefined;
    const port = {
      send: (from: Address, sequence: number) => {
        if (random(100) < this.percent || this.silent?.equals(from)) return;
        arriving.push({ type: "reply", from, sequence });
        queueMicrotask(onReadable);
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

  pass(seconds: number): Promise<void> {
    return this.#clock.advance(seconds * 1_000);
  }

  get health(): PathHealth {
    return this.#prober.health(TARGET.peer);
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
