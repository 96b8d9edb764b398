import { beforeEach, describe, expect, it } from "vitest";
import type { ProbeTarget } from "../../../../agent/probes/probe.ts";
import { ProbePlan } from "../../../../agent/probes/probe-plan.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../../../ipam/leases/lease.ts";

const TICK_MS = 50;
const ROUTINE_TICK_MS = 250;

function targetsOf(count: number): readonly ProbeTarget[] {
  return Array.from({ length: count }, (_, index) => {
    const peer = `peer${String(index).padStart(5, "0")}` as LeaseKey;
    return {
      id: peer,
      peer,
      family: 4,
      path: "tunnel",
      subnet: Prefix.parse("10.2.54.0/24"),
      inner: Address.parse("10.2.54.0"),
      isInnerCertain: true,
      sendsProbes: false,
      outer: Address.parse("192.168.1.242"),
      mtuBytes: 1450,
      tunnel: null,
      tunnelKind: null,
    };
  });
}

describe("the plan of probes", () => {
  let plan: ProbePlan;
  /** How often each target was probed in `seconds`, all new ones being settled at their first probe. */
  const simulate = (seconds: number, tickMs = TICK_MS): ReadonlyMap<string, number> => {
    const counts = new Map<string, number>();
    const count = ({ id }: ProbeTarget): void => {
      plan.spend();
      counts.set(id, (counts.get(id) ?? 0) + 1);
    };
    for (let nowMs = 0; nowMs < seconds * 1000; nowMs += tickMs) {
      while (plan.maySpend(nowMs)) {
        const [urgent] = plan.urgent(nowMs);
        if (urgent !== undefined) plan.settle(urgent.id);
        const target = urgent ?? plan.routine(nowMs);
        if (target === null) break;
        count(target);
      }
    }
    return counts;
  };
  const sum = (counts: ReadonlyMap<string, number>): number =>
    [...counts.values()].reduce((total, one) => total + one, 0);

  beforeEach(() => {
    plan = new ProbePlan({ perSecond: 20, tickMs: ROUTINE_TICK_MS });
  });

  it("sends nothing without peers, and a little with few", () => {
    plan.setTargets([], "own");
    expect(sum(simulate(60))).toBe(0);
    plan.setTargets(targetsOf(2), "own");
    expect(sum(simulate(60))).toBeLessThan(60);
  });

  it.each([1_000, 5_000])(
    "visits each of %i peers at least every five minutes within its budget",
    (peers) => {
      plan.setTargets(targetsOf(peers), "peer00700");
      const counts = simulate(600);
      expect(counts.size).toBe(peers);
      expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(2);
      expect(sum(counts)).toBeLessThanOrEqual(600 * 20 + 5);
    },
  );

  it("uses its budget in a few bursts a second, whatever it is", () => {
    for (const perSecond of [20, 200]) {
      plan = new ProbePlan({ perSecond, tickMs: ROUTINE_TICK_MS });
      plan.setTargets(targetsOf(5_000), "own");
      for (const { id } of [...plan.urgent(0)]) plan.settle(id);
      const sent = sum(simulate(60, ROUTINE_TICK_MS));
      expect(sent / (60 * perSecond)).toBeGreaterThan(0.9);
      expect(sent).toBeLessThanOrEqual(60 * perSecond * 1.1);
    }
  });

  it("probes new targets at once, and keeps what is known of others", () => {
    plan.setTargets(targetsOf(10), "own");
    simulate(5);
    plan.setTargets(targetsOf(12), "own");
    expect([...plan.urgent(5_000)].map(({ id }) => id)).toEqual(["peer00010", "peer00011"]);
  });

  /** Without new ones, which would come first. */
  const setKnown = (count: number, ownKey: string): void => {
    plan.setTargets(targetsOf(count), ownKey);
    for (const { id } of [...plan.urgent(0)]) plan.settle(id);
  };

  it("looks after the next neighbours often, around the end of the list", () => {
    setKnown(1_000, "peer00998");
    const counts = simulate(60);
    expect(counts.get("peer00999")).toBeGreaterThanOrEqual(10);
    expect(counts.get("peer00000")).toBeGreaterThanOrEqual(10);
    expect(counts.get("peer00500")).toBeLessThanOrEqual(3);
  });

  it("looks after targets in use every two seconds", () => {
    setKnown(1_000, "own");
    plan.setBusy(new Set(["peer00500"]), 2_000);
    expect(simulate(60).get("peer00500")).toBeGreaterThanOrEqual(28);
  });

  it("leaves every target its turn, however many are in use", () => {
    setKnown(5_000, "own");
    const ids = targetsOf(5_000).map(({ id }) => id);
    plan.setBusy(new Set(ids.slice(0, 500)), 1_000);
    const counts = simulate(330);
    expect(ids.filter((id) => !counts.has(id))).toEqual([]);
    expect(counts.get("peer00000")).toBeGreaterThanOrEqual(2);
  });

  it("repeats what is known after what is doubtful, and keeps neither of a target that has left", () => {
    setKnown(3, "own");
    plan.repeat("peer00000", 1_000);
    plan.hurry("peer00002", 2_000);
    expect([...plan.urgent(3_000)].map(({ id }) => id)).toEqual(["peer00002", "peer00000"]);
    plan.setTargets(targetsOf(1), "own");
    expect([...plan.urgent(4_000)].map(({ id }) => id)).toEqual(["peer00000"]);
    expect(plan.repeats).toBe(1);
  });

  it.each([1, 3, 1_000])("says for %i peers when the next one is due, and is at rest until then", (peers) => {
    plan.setTargets(targetsOf(peers), "own");
    plan.setBusy(new Set(["peer00000"]), 2_000);
    let rests = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += TICK_MS) {
      const dueMs = Math.min(plan.urgentMs, plan.routineMs);
      if (!plan.maySpend(nowMs)) continue;
      const [urgent] = plan.urgent(nowMs);
      if (urgent !== undefined) plan.repeat(urgent.id, nowMs + 30_000);
      const target = urgent ?? plan.routine(nowMs);
      if (target === null) rests += 1;
      else plan.spend();
      expect(dueMs <= nowMs, `a target is due at ${nowMs}`).toBe(target !== null);
    }
    expect(rests > 0).toBe(peers < 1_000);
    plan.setTargets([], "own");
    expect([plan.urgentMs, plan.routineMs]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it("hurries a doubtful target from the given time on", () => {
    plan.setTargets(targetsOf(3), "own");
    simulate(1);
    plan.hurry("peer00001", 5_000);
    expect([...plan.urgent(4_000)]).toEqual([]);
    expect([...plan.urgent(5_000)].map(({ id }) => id)).toEqual(["peer00001"]);
    plan.setTargets([], "own");
    expect([...plan.urgent(9_000)]).toEqual([]);
  });
});
