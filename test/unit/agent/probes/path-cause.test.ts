/** Which cause a peer with two families is shown with, and what explain takes from it. */

import { expect, it } from "vitest";
import { provenOf } from "../../../../agent/explain/knowledge.ts";
import { type CauseCode, causeOf } from "../../../../agent/probes/causes.ts";
import { type PathCause, pathCause } from "../../../../agent/probes/path-cause.ts";
import type { PathState } from "../../../../agent/probes/path-watch.ts";
import type { PathHealth } from "../../../../agent/probes/prober.ts";
import type { Family } from "../../../../ipam/addresses/ip.ts";
import { TARGET } from "./target-fixture.ts";

const GOOD: PathState = { state: "good" };
const bad = (code: CauseCode, text: string): PathState => ({
  state: "bad",
  cause: causeOf(code, text),
  sinceMs: 7,
});
const of = (four: PathState, six?: PathState): PathCause | null =>
  pathCause([{ family: 4, state: four }, ...(six === undefined ? [] : [{ family: 6 as const, state: six }])]);

it("has no family where the peer has one only, or where all have it", () => {
  const down = bad("host-down", "is down");
  expect(of(GOOD)).toBeNull();
  expect(of(GOOD, GOOD)).toBeNull();
  expect(of(down)).toMatchObject({ code: "host-down", text: "is down", family: null, sinceMs: 7 });
  expect(of(down, down)).toMatchObject({ text: "is down", family: null });
});

it("names the family where the other one works, or has another cause", () => {
  const filtered = bad("tunnel-filtered", "is silent");
  const expected = { code: "tunnel-filtered", text: "over IPv4 is silent", family: 4 };
  expect(of(filtered, GOOD)).toMatchObject(expected);
  expect(of(filtered, { state: "unknown" })).toMatchObject(expected);
  expect(of(filtered, bad("no-route", "is not reached"))).toMatchObject(expected);
  expect(of(GOOD, filtered)).toMatchObject({ text: "over IPv6 is silent", family: 6 });
  expect(of(GOOD, bad("local-firewall", "a rule drops packets"))?.text).toBe("a rule drops packets (IPv6)");
});

it("concerns a packet of that family only, and a round trip counts while the path is good", () => {
  const proven = (family: Family, changes: Partial<PathHealth>) =>
    provenOf({
      target: { ...TARGET, family },
      health: {
        ...{ state: "good", cause: null, roundTripMs: 0.4 },
        ...{ lossShare: null, measured: null, isAgentQuiet: false },
        ...changes,
      },
    });
  const cause = of(bad("tunnel-filtered", "is silent"), GOOD);
  expect(proven(4, { state: "bad", cause })).toEqual({ cause, roundTripMs: null });
  expect(proven(6, { state: "bad", cause })).toEqual({ cause: null, roundTripMs: null });
  expect(proven(6, { state: "unknown" })).toEqual({ cause: null, roundTripMs: null });
  expect(proven(6, {})).toEqual({ cause: null, roundTripMs: 0.4 });
  const ofBoth = of(bad("host-down", "is down"));
  expect(proven(6, { state: "bad", cause: ofBoth }).cause).toBe(ofBoth);
  const diverted = of(bad("path-diverted", "is reached in part"));
  const partial = diverted === null ? null : { ...diverted, isPartial: true as const };
  expect(proven(4, { state: "bad", cause: partial }).cause).toBeNull();
});
