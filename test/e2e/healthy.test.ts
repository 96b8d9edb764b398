/** A healthy network whose agents restart, die, leave and come back: no path is called broken. */

import { expect, it } from "vitest";
import { alarmsOf, disturb, isWell } from "../support/healthy-network.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

const HOSTS = 8;
const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };

describeWithEtcd("a healthy network", () => {
  const net = useEtcdLab("healthy", { hosts: HOSTS, config: CONFIG });

  it("gives no alarm while its agents come and go", async () => {
    await net.startAll();
    await disturb(net, 1, []);
    await expect.poll(() => isWell(net), { timeout: 60_000, interval: 500 }).toBe(true);
    expect(alarmsOf(net)).toEqual([]);
  });
});
