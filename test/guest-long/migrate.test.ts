/** A change of the backend from and to WireGuard, host by host, while the containers of all hosts talk. */

import { beforeAll, expect, it } from "vitest";
import { describeInGuest, loadModule, lostBefore } from "../support/guest.ts";
import { changeHostByHost, lostOf, useTalkingCluster } from "../support/talking-cluster.ts";

describeInGuest("a change of the backend, host by host, with WireGuard", () => {
  beforeAll(() => loadModule("wireguard"));
  const cluster = useTalkingCluster("migrate", "vxlan");

  it.each([
    ["vxlan", "wireguard"],
    ["wireguard", "vxlan"],
  ])("from %s to %s", { timeout: 900_000 }, async (from, to) => {
    await cluster.untilConnected();
    const reports = await changeHostByHost(cluster, from, to);
    for (const { sent } of reports) expect(sent).toBeGreaterThan(200);
    const lost = reports.map((report) => ({ ...report, lost: lostBefore({ ...report, intervalMs: 100 }) }));
    expect(lostOf(lost)).toEqual([]);
  });
});
