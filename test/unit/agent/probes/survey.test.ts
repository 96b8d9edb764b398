/** What a measured path is called. */

import { expect, it } from "vitest";
import { lossOf, type PathMeasure, verdictOf } from "../../../../agent/probes/survey.ts";
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
