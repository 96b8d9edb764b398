/** What a measured path is called. */

import { expect, it } from "vitest";
import { EchoLine } from "../../../../agent/probes/echo-line.ts";
import { lossOf, type PathMeasure, Survey, verdictOf } from "../../../../agent/probes/survey.ts";
import type { EchoEvent, EchoPort } from "../../../../backends/probe/echo-port.ts";
import type { Address } from "../../../../ipam/addresses/ip.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { FAULTLESS } from "./lossy-network.ts";
import { TARGET } from "./target-fixture.ts";

it.each([
  [10, 0, false],
  [10, 1, false],
  [2, 1, false],
  [10, 2, true],
  [10, 4, true],
  [1_000, 19, false],
  [1_000, 20, true],
])("of %i packets %i may be lost by chance, or not", (sent, lost, isLossy) => {
  const cause = lossOf(sent, lost);
  expect(cause?.code ?? null).toBe(isLossy ? "packets-lost" : null);
  if (cause !== null) expect(cause.text).toBe(`answers, but ${lost} of ${sent} packets were lost`);
});

it("a path works that answers, is broken with a cause, and is unknown otherwise", () => {
  const of = (changes: Partial<PathMeasure>): string =>
    verdictOf({
      ...{ target: TARGET, sent: 10, roundTripsMs: [], passesBytes: null, answersTcp: false, cause: null },
      ...changes,
    });
  expect(of({ roundTripsMs: [0.1] })).toBe("works");
  expect(of({ answersTcp: true })).toBe("works");
  expect(of({ roundTripsMs: [0.1, 0.2], cause: lossOf(10, 8) })).toBe("broken");
  expect(of({})).toBe("unknown");
});

it("a path loses packets where some were answered, and none of the examination", async () => {
  const clock = new FakeClock();
  const line = new EchoLine(answering([true, false, true]), () => clock.monotonicMs(), 1);
  line.listen();
  const survey = new Survey({
    ...{ clock, lines: { 4: line }, outerLines: { 4: line }, histories: {}, count: 10 },
    probeTcp: (_, settle) => settle({ type: "silent" }),
    probeSyn: (_, settle) => settle({ type: "silent" }),
    inspect: () => FAULTLESS,
    onProgress: () => undefined,
  });
  const measured = survey.run([TARGET], new AbortController().signal);
  for (let seconds = 0; seconds < 20; seconds++) {
    await clock.advance(1_000);
    line.expire();
  }
  const [path] = await measured;
  expect(path?.cause).toMatchObject({
    code: "packets-lost",
    text: "answers, but 8 of 10 packets were lost",
  });
});

/** A port whose first requests are answered or lost as given, and all others lost. */
function answering(outcomes: readonly boolean[]): EchoPort {
  const arriving: EchoEvent[] = [];
  let sent = 0;
  let onReadable: () => void = () => undefined;
  return {
    send: (from: Address, sequence: number) => {
      if (outcomes[sent++] !== true) return;
      arriving.push({ type: "reply", from, sequence });
      queueMicrotask(onReadable);
    },
    receive: () => arriving.shift() ?? null,
    onReadable: (callback: () => void) => {
      onReadable = callback;
    },
  } as unknown as EchoPort;
}
