/** What the status says of peers on the fall-back, and of those that not even it reaches. */

import { expect, it } from "vitest";
import type { FallbackState } from "../../../../agent/fallback/fallback-paths.ts";
import { fallbackProblems } from "../../../../agent/network/fallback-problems.ts";
import { peer } from "../../../support/vxlan-fixture.ts";

const CALM: FallbackState = { sinceMs: null, isCutOff: false, isReserveSilent: false };

function textsOf(
  state: Partial<FallbackState>,
  { problem = null, isAnswering = false }: { problem?: string | null; isAnswering?: boolean } = {},
): readonly string[] {
  const paths = { problem, stateOf: () => ({ ...CALM, ...state }) };
  const known = { hostNameOf: () => "node5", isAnswering: () => isAnswering };
  return fallbackProblems([peer(5)], paths, known, 90_000);
}

it("names the peer and its host, and for how long", () => {
  expect(textsOf({ sinceMs: 30_000 })).toEqual([
    expect.stringMatching(/^packets to peer 10\.2\.5\.0-24 \(node5\) have gone by the fall-back for 1 ?m/),
  ]);
});

it("tells a peer that is cut off from one whose fall-back alone is silent", () => {
  expect(textsOf({ sinceMs: 1_000, isCutOff: true })).toEqual([
    expect.stringMatching(/answers neither through the tunnel nor by the fall-back/),
  ]);
  expect(textsOf({ isReserveSilent: true })).toEqual([
    expect.stringMatching(/^the fall-back to peer 10\.2\.5\.0-24 \(node5\) does not answer: .*UDP port 8285/),
  ]);
});

it("does not call a peer cut off that answers by the other way", () => {
  expect(textsOf({ sinceMs: 30_000, isCutOff: true }, { isAnswering: true })).toEqual([
    expect.stringMatching(
      /^packets to peer .* by the fall-back for .* fails; its answers come by the tunnel: check/,
    ),
  ]);
});

it("says nothing of healthy peers, nor without a fall-back, and why nothing is watched", () => {
  expect(textsOf({})).toEqual([]);
  expect(fallbackProblems([peer(5)], null, { hostNameOf: () => null, isAnswering: () => true }, 0)).toEqual(
    [],
  );
  expect(textsOf({ sinceMs: 1 }, { problem: "no socket" })).toEqual(["no socket"]);
});
