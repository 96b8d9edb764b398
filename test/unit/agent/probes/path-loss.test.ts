/** The loss of a path: of probes through the tunnel, soon small again after a single one. */

import { describe, expect, it } from "vitest";
import { PathWatch } from "../../../../agent/probes/path-watch.ts";
import type { Outcome, Probe, ProbeTarget } from "../../../../agent/probes/probe.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

const target: ProbeTarget = {
  id: "10.2.3.0-24 IPv4",
  peer: "10.2.3.0-24",
  family: 4,
  path: "tunnel",
  subnet: Prefix.parse("10.2.3.0/24"),
  inner: Address.parse("10.2.3.0"),
  isInnerCertain: true,
  outer: Address.parse("192.0.2.3"),
  mtuBytes: 1450,
  tunnel: "UDP port 8472",
};
const answered: Outcome = { type: "answered", roundTripMs: 1 };
const silent: Outcome = { type: "silent" };
const full: Probe = { kind: "full" };

describe("the loss of a path", () => {
  it("is not known before an answer", () => {
    const watch = new PathWatch(target);
    watch.noteRoutine(full, silent);
    expect(watch.lossRatio).toBeNull();
  });

  it("falls by the probes that follow a lost one at once", () => {
    const watch = new PathWatch(target);
    watch.noteRoutine(full, answered);
    expect(watch.lossRatio).toBe(0);
    watch.noteRoutine(full, silent);
    expect(watch.lossRatio).toBe(1 / 8);
    for (const kind of ["full", "small", "tcp"] as const) watch.noteExamined({ kind }, answered);
    expect(watch.lossRatio).toBeLessThan(0.1);
  });

  it("does not count probes beside the tunnel, nor a search for a size", () => {
    const watch = new PathWatch(target);
    watch.noteRoutine(full, answered);
    watch.noteExamined({ kind: "outer" }, silent);
    watch.noteExamined({ kind: "size", bytes: 1400 }, silent);
    expect(watch.lossRatio).toBe(0);
  });

  it("stays high on a path that loses half", () => {
    const watch = new PathWatch(target);
    for (let count = 0; count < 40; count += 1) watch.noteRoutine(full, count % 2 === 0 ? answered : silent);
    expect(watch.lossRatio).toBeGreaterThan(0.4);
    expect(watch.lossRatio).toBeLessThan(0.6);
  });
});
