/** A network whose hosts drop pings and connections to closed ports, as default firewalls do: nothing is known, and nothing called broken. */

import { expect, it } from "vitest";
import { describeWithEtcd, ping, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const FIREWALL = [
  "add table inet quiet",
  "add chain inet quiet c { type filter hook input priority -400; }",
  "add rule inet quiet c icmp type echo-request drop",
  "add rule inet quiet c tcp dport 9 drop",
];

describeWithEtcd("a network whose hosts answer no probes", () => {
  const net = useEtcdLab("filtered", { hosts: 3, config: CONFIG });

  it("has no broken paths, and its containers reach each other", { timeout: 180_000 }, async () => {
    for (const { netns } of net.lab.hosts) netns.exec("nft", [FIREWALL.join("; ")]);
    await net.startAll();
    const [one, other] = [net.host(1).addContainer(), net.host(2).addContainer()];
    const seen = new Set<string>();
    // Some examinations long; what has just come is excused for 15 s.
    for (let looks = 0; looks < 90; looks++) {
      for (const { daemon } of net.lab.hosts)
        for (const { text } of (await daemon.status())?.causes ?? []) seen.add(text);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect([...seen]).toEqual([]);
    const states = (await net.host(1).daemon.status())?.peers.map(({ health }) => health?.state);
    expect(states).toEqual(["unknown", "unknown"]);
    expect((await ping(one.netns, other.address, 3)).lost).toEqual([]);
  });
});
