/** The store is away for longer than the leases last: the kernel stays as it is, and the status says why. */

import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWithEtcd, useEtcdLab } from "../../support/hosts.ts";
import { watchDevice } from "../../support/monitor.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const TTL_SECONDS = 4;
const HOSTS = 4;

describeWithEtcd("an outage that outlasts the leases", () => {
  const net = useEtcdLab("outage", { hosts: HOSTS, config: CONFIG });
  const daemons = () => net.lab.hosts.map(({ daemon }) => daemon);

  beforeAll(async () => {
    await Promise.all(
      daemons().map((daemon) => daemon.start(...net.flags, `--subnet-lease-ttl=${TTL_SECONDS}s`)),
    );
    for (const daemon of daemons())
      await daemon.until(({ peers }) => peers.length === HOSTS - 1, "knows all peers");
  });
  afterAll(async () => {
    await Promise.all(daemons().map((daemon) => daemon.stop()));
  });

  it.each(["killed", "hung"])("changes nothing in the kernel when etcd is %s", async (fault) => {
    const [member] = net.etcd.members;
    const keys = [...net.leases().keys()].sort();
    const monitors = await Promise.all(net.lab.hosts.map(({ netns }) => watchDevice(netns, "flannel.1")));
    if (fault === "killed") await member?.kill();
    else await member?.pause();
    await delay((TTL_SECONDS + 2) * 1000);
    const away = await net.host(2).daemon.until(({ problems }) => problems.length > 0, "says what is wrong");
    expect(away.problems.join("\n")).toMatch(/lease .* is lost|store has been out of reach/);
    if (fault === "killed") expect(away.problems.join("\n")).toMatch(/store has been out of reach for \d+ s/);
    if (fault === "killed") await member?.start();
    else member?.resume();
    for (const daemon of daemons()) {
      await daemon.until(
        ({ isReady, peers, problems }) => isReady && peers.length === HOSTS - 1 && problems.length === 0,
        "is whole again",
      );
    }
    expect([...net.leases().keys()].sort()).toEqual(keys);
    const changes = await Promise.all(monitors.map((monitor) => monitor.stop()));
    expect(changes.flat().filter((line) => line.includes("Deleted"))).toEqual([]);
  });
});
