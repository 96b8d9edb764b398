import { describe, expect, it } from "vitest";
import { RepairHistory } from "../../../../backends/firewall/repair-history.ts";

const repairAt = (atMs: number) => ({ atMs, found: ["chain FLANNEL-FWD is missing"], by: null });

/** A history of repairs, one each second. */
function historyOf(repairs: number): RepairHistory {
  const history = new RepairHistory();
  for (let second = 1; second <= repairs; second++) history.record(repairAt(second * 1000));
  return history;
}

describe("the history of repairs", () => {
  it("counts, and keeps the last one", () => {
    expect(historyOf(0)).toMatchObject({ count: 0, last: null });
    expect(historyOf(2)).toMatchObject({ count: 2, last: repairAt(2000) });
  });

  it("takes ten in a row for a quarrel, and says once that it begins", () => {
    const history = historyOf(9);
    expect(history.undone(9000)).toBe(0);
    expect(history.record(repairAt(10_000))).toBe(true);
    expect(history.undone(10_000)).toBe(10);
    expect(history.record(repairAt(11_000))).toBe(false);
    expect(history.undone(11_000)).toBe(11);
  });

  it("ends the quarrel after ten quiet seconds, and begins to count anew", () => {
    const history = historyOf(12);
    expect(history.undone(22_000)).toBe(12);
    expect(history.undone(22_001)).toBe(0);
    history.record(repairAt(22_001));
    expect(history.undone(22_001)).toBe(0);
    expect(history.count).toBe(13);
  });
});
