/** What the kernel announces of others' changes, and which of them cannot wait. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import { watchFirewall } from "../../../backends/firewall/events.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { NftEngine } from "../../../backends/firewall/nft.ts";
import type { NetlinkMonitor } from "../../../backends/netlink/monitor.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { only, PLAN } from "./fixture.ts";

describeAsRoot("firewall events", () => {
  let host: TestNetns;
  let handle: NetnsHandle;
  let monitor: NetlinkMonitor;
  let urgencies: boolean[];
  let programs: string[];
  let tables: Set<string>;

  beforeEach(async () => {
    host = createNetns("fwevents");
    const runner = new CommandRunner(["nsenter", `--net=${host.path}`]);
    for (const engine of [new IptablesEngine(runner), new NftEngine(runner)])
      await engine.reconcile(only(PLAN));
    host.exec("iptables", ["-N", "DOCKER"]);
    handle = NetnsHandle.open(host.path);
    urgencies = [];
    programs = [];
    tables = new Set();
    monitor = watchFirewall({
      netns: handle,
      onChange: ({ isUrgent, program, tables: changed }) => {
        urgencies.push(isUrgent);
        if (program !== null) programs.push(program);
        for (const table of changed ?? []) tables.add(table);
      },
      onError: (error) => expect.unreachable(String(error)),
    });
  });
  afterEach(() => {
    monitor.close();
    handle.close();
    host.dispose();
  });

  it.each([
    ["a rule of ours is deleted", "iptables -D FLANNEL-FWD 1"],
    ["a chain of ours is emptied", "nft flush chain ip flannel-ipv4 postrtg"],
    ["all jumps are deleted", "iptables -t nat -F POSTROUTING"],
    ["everything is flushed", "nft flush ruleset"],
    ["the policy of FORWARD changes", "iptables -P FORWARD DROP"],
    ["a rule comes before ours", "iptables -I FORWARD -j DROP"],
    ["Docker's chain for the administrator appears", "iptables -N DOCKER-USER"],
  ])("are urgent when %s", async (_, command) => {
    host.exec("sh", ["-c", command]);
    monitor.drain();
    expect(urgencies).toContain(true);
    expect(programs).toEqual([command.split(" ")[0]]);
  });

  it.each([
    ["iptables -A DOCKER -d 10.2.54.2 -j ACCEPT"],
    ["iptables -t nat -A POSTROUTING -s 10.2.54.2 -d 10.2.54.2 -j MASQUERADE"],
    ["nft add table inet theirs"],
    ["iptables -N KUBE-FORWARD && iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"],
  ])("can wait for %s", async (command) => {
    host.exec("sh", ["-c", command]);
    monitor.drain();
    expect(urgencies.length).toBeGreaterThan(0);
    expect(urgencies).not.toContain(true);
    expect(programs).toEqual([]);
  });

  it.each([
    ["iptables -t nat -F POSTROUTING", ["ip nat"]],
    ["ip6tables -A FORWARD -j ACCEPT", ["ip6 filter"]],
    ["nft flush chain ip flannel-ipv4 postrtg", ["ip flannel-ipv4"]],
    ["nft add element ip flannel-ipv4 tunnel-sources '{ 192.168.50.99 }'", ["ip flannel-ipv4"]],
    ["nft 'add table bridge b; add map bridge b m { type ifname : verdict; }'", ["bridge b"]],
    ["nft add table inet theirs", ["inet theirs"]],
    ["nft 'add table netdev n; delete table ip flannel-ipv4'", ["ip flannel-ipv4", "netdev n"]],
  ])("name the tables that change with %s", (command, expected) => {
    host.exec("sh", ["-c", command]);
    monitor.drain();
    expect([...tables].sort()).toEqual(expected);
  });
});
