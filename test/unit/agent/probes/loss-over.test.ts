/** A prober whose packets are lost for a while, on a clock of its own: how long the loss is named, and that it stays so. */

import { expect, it } from "vitest";
import { EchoLine } from "../../../../agent/probes/echo-line.ts";
import type { Inspection } from "../../../../agent/probes/local-facts.ts";
import { Prober } from "../../../../agent/probes/prober.ts";
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
    reversePathDrops: 0,
    checksumErrors: 0,
    tunnel: null,
  }),
  askLink: () => undefined,
  end: () => undefined,
};

/** Loses a share of the echo requests, in percent. */
class LossyNetwork {
  readonly changes: string[] = [];
  percent = 0;
  readonly #clock = new FakeClock();
  readonly #stop = new AbortController();
  readonly #prober: Prober;

  constructor(seed: number) {
    const clock = this.#clock;
    this.#prober = new Prober({
      clock,
      faults: new Faults(silentLogger),
      perSecond: 20,
      lines: { 4: this.#line(seed) },
      probeTcp: (_, settle) => settle(ANSWERED),
      probeSyn: (_, settle) => settle(ANSWERED),
      inspect: () => INSPECTION,
      onChange: (_, state) => void this.changes.push(state.state === "bad" ? state.cause.code : state.state),
      onRoundTrip: () => undefined,
      onProbe: () => undefined,
    });
    this.#prober.setTargets([TARGET], "10.2.1.0-24");
    void this.#prober.run(this.#stop.signal);
  }

  #line(seed: number): EchoLine {
    const random = randomNumbers(seed);
    const arriving: EchoEvent[] = [];
    let onReadable: () => void = () => undefined;
    const port = {
      send: (from: Address, sequence: number) => {
        if (random(100) < this.percent) return;
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

  /** Seconds until the loss is named, or is not; at most `limit`. */
  async secondsUntil(isNamed: boolean, limit: number): Promise<number> {
    for (let seconds = 0; seconds < limit; seconds++) {
      if ((this.#prober.health(TARGET.peer).cause?.code === "packets-lost") === isNamed) return seconds;
      await this.pass(1);
    }
    return limit;
  }

  stop(): void {
    this.#stop.abort();
  }
}

const SEEDS = [1, 2, 3, 4, 5, 6];

it.each([20, 40, 60])(
  "names %i percent as long as they are lost, and not for long after",
  { timeout: 60_000 },
  async (percent) => {
    const after: number[] = [];
    let early = 0;
    for (const seed of SEEDS) {
      const network = new LossyNetwork(seed);
      await network.pass(20);
      network.percent = percent;
      expect(await network.secondsUntil(true, 300)).toBeLessThan(300);
      await network.pass(180);
      early += network.changes.filter(
        (state, at) => state === "good" && network.changes[at - 1] === "packets-lost",
      ).length;
      await network.secondsUntil(true, 300);
      network.percent = 0;
      after.push(await network.secondsUntil(false, 300));
      network.stop();
    }
    expect(Math.max(...after)).toBeLessThanOrEqual(30);
    // Once in a while chance looks like an end.
    expect(early).toBeLessThanOrEqual(2);
  },
);
