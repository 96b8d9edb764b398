/** Deadlines that fit a server, and what a person is told of a slow one. */

import { describe, expect, it } from "vitest";
import { describeLatency, Latency, SlownessLog } from "../../../../ipam/stores/latency.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

describe("the latency of a server", () => {
  it("extends no deadline before it is measured, and hardly any of a quick server", () => {
    const latency = new Latency();
    expect(latency.deadlineMs(5_000)).toBe(5_000);
    latency.note(1);
    expect(latency.deadlineMs(5_000)).toBe(5_003);
  });

  it("gives a slow one time for its answer, measured from half a round trip on", () => {
    for (const oneWayMs of [500, 2_000, 5_000]) {
      const latency = new Latency();
      latency.note(oneWayMs);
      expect(latency.deadlineMs(0)).toBeGreaterThan(2 * oneWayMs);
    }
  });

  it("is the shortest that was measured: one late answer makes no slow server", () => {
    const latency = new Latency();
    for (const ms of [2_500, 3, 4_000]) latency.note(ms);
    expect(latency.roundTripMs).toBe(3);
  });

  it("is logged when it becomes long, and when it no longer is", () => {
    const logger = recordingLogger();
    const slowness = new SlownessLog(logger);
    const of = (ms: number) => {
      const latency = new Latency();
      latency.note(ms);
      return latency;
    };
    for (const ms of [1, 4_000, 4_100, 2]) slowness.note("etcd.test:2379", of(ms));
    expect(logger.lines.map(({ level, fields }) => [level, fields])).toEqual([
      ["warn", { server: "etcd.test:2379", roundTripMs: 4_000 }],
      ["info", { server: "etcd.test:2379", roundTripMs: 2 }],
    ]);
  });

  it("is part of a store's description when it is long", () => {
    expect([null, 20, 4_012].map(describeLatency)).toEqual(["", "", ", answers in 4.0 s"]);
  });
});
