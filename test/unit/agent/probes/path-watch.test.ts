import { describe, expect, it } from "vitest";
import { causeOf } from "../../../../agent/probes/causes.ts";
import { PathWatch } from "../../../../agent/probes/path-watch.ts";
import type { Evidence, Outcome, Probe } from "../../../../agent/probes/probe.ts";
import { TARGET } from "./target-fixture.ts";

const YES: Outcome = { type: "answered", roundTripMs: 1 };
const NO: Outcome = { type: "silent" };
const FULL: Probe = { kind: "full" };
const SILENT: Evidence = {
  small: NO,
  full: NO,
  tcp: NO,
  outer: NO,
  syn: null,
  isLossy: false,
  passesBytes: null,
};
const FILTERED = causeOf("tunnel-filtered", "answers beside the tunnel only");

describe("a path", () => {
  it("is good from its first answer, and doubtful from a packet without one", () => {
    const watch = new PathWatch(TARGET, 0);
    expect(watch.noteRoutine(FULL, YES)).toBe(false);
    expect(watch.state.state).toBe("good");
    expect(watch.noteRoutine(FULL, NO)).toBe(true);
  });

  it("of a peer that has just come is not called broken at once", () => {
    const watch = new PathWatch(TARGET, 0);
    expect(watch.conclude(FILTERED, SILENT, 3_000)).toBe(false);
    expect(watch.state.state).toBe("unknown");
    expect(watch.repeatMs).toBe(5_000);
    expect(watch.conclude(FILTERED, SILENT, 16_000)).toBe(true);
    expect(watch.state.state).toBe("bad");
  });

  it("of a peer that has just come is broken at once where this host's kernel says so", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.conclude(causeOf("no-route", "is not reached"), SILENT, 3_000);
    expect(watch.state.state).toBe("bad");
  });

  it("of which nothing is proven is looked at ever less, and says what was measured", () => {
    const watch = new PathWatch(TARGET, 0);
    for (const repeatMs of [10_000, 20_000, 40_000]) {
      watch.conclude(null, SILENT, 0);
      expect(watch.repeatMs).toBe(repeatMs);
    }
    expect(watch.measured).toBe("answered: small packets no, large packets no, TCP no, public address no");
    expect(watch.noteRoutine(FULL, NO)).toBe(false);
  });

  it("that loses many packets is bad, and good when it no longer does", () => {
    const watch = new PathWatch(TARGET, 0);
    const partly: Evidence = { ...SILENT, small: YES, full: YES };
    for (let count = 0; count < 20; count++) watch.noteRoutine(FULL, count % 3 === 0 ? NO : YES);
    watch.conclude(null, partly, 0);
    expect(watch.state).toMatchObject({ state: "bad", cause: { code: "packets-lost" } });
    expect(watch.lossShare).toBeCloseTo(6 / 19);
    for (let count = 0; count < 40; count++) watch.noteRoutine(FULL, YES);
    watch.conclude(null, partly, 0);
    expect(watch.state.state).toBe("good");
  });

  it("does not lose what the search for the largest size sends", () => {
    const watch = new PathWatch(TARGET, 0);
    for (let count = 0; count < 20; count++) {
      watch.noteRoutine(FULL, YES);
      watch.noteExamined({ kind: "size", bytes: 1_400 }, NO);
    }
    expect(watch.lossShare).toBe(0);
  });

  it("is asked once beside the tunnel, which proves nothing while it is good", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    const kinds = Array.from({ length: 6 }, () => watch.routine().kind);
    expect(kinds.filter((kind) => kind === "outer")).toHaveLength(1);
    expect(watch.noteRoutine({ kind: "outer" }, NO)).toBe(false);
    expect(watch.state.state).toBe("good");
  });

  it("that loses some packets keeps a cause while an examination is not clear", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    const partly: Evidence = { ...SILENT, small: YES, isLossy: true };
    watch.conclude(causeOf("large-packets-lost", "loses large packets"), { ...partly, isLossy: false }, 0);
    watch.conclude("undecided", partly, 1_000);
    expect(watch.state).toMatchObject({ state: "bad", cause: { code: "large-packets-lost" } });
    watch.conclude("undecided", { ...partly, full: YES }, 2_000);
    expect(watch.state.state).toBe("good");
  });

  it("that loses large packets keeps what is known to pass while that is measured again", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    const passes = (bytes: number) => causeOf("large-packets-lost", `${bytes} bytes pass`);
    watch.conclude(passes(1_300), SILENT, 0);
    watch.examine();
    watch.conclude(passes(576), SILENT, 5_000);
    expect(watch.state).toMatchObject({ cause: passes(1_300) });
  });

  it("remembers for some examinations what the peer reported", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    const report = { type: "error", text: "port unreachable", from: TARGET.inner } as const;
    watch.noteRoutine(FULL, report);
    const examine = () => {
      let evidence: Evidence | null = null;
      watch.examine();
      for (let nowMs = 0; nowMs <= 1_000; nowMs += 500) {
        for (let probe = watch.nextProbe(nowMs); probe !== null; probe = watch.nextProbe(nowMs))
          evidence = watch.noteExamined(probe, NO);
      }
      if (evidence !== null) watch.conclude(FILTERED, evidence, 0);
      return evidence;
    };
    expect([1, 2, 3, 4].map(examine)).toEqual([
      ...[1, 2, 3].map(() => expect.objectContaining({ full: report })),
      expect.objectContaining({ full: NO }),
    ]);
  });

  it("whose tunnel packets could not be watched keeps its state, and is not good for an answer beside it", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    watch.conclude("undecided", { ...SILENT, outer: YES }, 1_000);
    expect(watch.state.state).toBe("unknown");
    expect(watch.repeatMs).toBe(5_000);
    watch.conclude(FILTERED, SILENT, 2_000);
    watch.conclude("undecided", { ...SILENT, outer: YES }, 3_000);
    expect(watch.state).toMatchObject({ state: "bad", cause: FILTERED });
  });

  it("that is bad is looked at when a late answer comes", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    expect(watch.noteLate({ ms: 1_500, isLarge: true })).toBe(false);
    watch.examine();
    expect(watch.late).toBeNull();
    watch.conclude(FILTERED, SILENT, 0);
    const large = { ms: 2_000, isLarge: true };
    expect([watch.noteLate(large), watch.late]).toEqual([false, large]);
    watch.noteLate({ ms: 1_200, isLarge: false });
    expect(watch.late).toEqual(large);
  });

  describe("to an address that the peer may lack", () => {
    const guessed = () => new PathWatch({ ...TARGET, isInnerCertain: false }, 0);
    const OUTER: Probe = { kind: "outer" };

    it("is probed there now and then, and silence means nothing", () => {
      const watch = guessed();
      const kinds = Array.from({ length: 6 }, () => watch.routine().kind);
      expect(kinds).toEqual(["outer", "outer", "full", "outer", "outer", "full"]);
      watch.noteRoutine(OUTER, YES);
      expect(watch.noteRoutine(FULL, NO)).toBe(false);
      expect(watch.state.state).toBe("good");
    });

    it("is examined when this host itself refuses to send", () => {
      const watch = guessed();
      watch.noteRoutine(OUTER, YES);
      expect(watch.noteRoutine(FULL, { type: "error", text: "host unreachable, says 10.0.0.1" })).toBe(false);
      expect(watch.noteRoutine(FULL, { type: "error", text: "EPERM" })).toBe(true);
    });

    it("is not known where it has answered and does so no more", () => {
      const watch = guessed();
      watch.noteRoutine(FULL, YES);
      expect(watch.noteRoutine(FULL, NO)).toBe(true);
      watch.conclude(null, { ...SILENT, outer: YES }, 20_000);
      expect(watch.state.state).toBe("unknown");
    });
  });

  it("does not call lost what a fault with a name cost", () => {
    const watch = new PathWatch(TARGET, 0);
    watch.noteRoutine(FULL, YES);
    for (let count = 0; count < 30; count++) watch.noteRoutine(FULL, NO);
    watch.conclude(FILTERED, SILENT, 20_000);
    watch.conclude(null, { ...SILENT, small: YES, full: YES }, 25_000);
    expect(watch.state.state).toBe("good");
  });
});
