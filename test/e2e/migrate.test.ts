/** A change of the backend across running hosts, one by one, while the containers of all of them talk. */

import { expect, it } from "vitest";
import { describeWithEtcd } from "../support/hosts.ts";
import {
  changeHostByHost,
  config,
  HOSTS,
  lostOf,
  useTalkingCluster,
  WAIT,
} from "../support/talking-cluster.ts";

/** With udp, a restart of the daemon is one of the data path: what is sent meanwhile is lost, for about this long. */
const UDP_RESTART_PACKETS = 400;

describeWithEtcd("a change of the backend, host by host", () => {
  const cluster = useTalkingCluster("migrate", "vxlan");
  const { net } = cluster;

  it.each([
    ["vxlan", "host-gw"],
    ["host-gw", "vxlan"],
    ["vxlan", "udp"],
    ["udp", "host-gw"],
    ["host-gw", "udp"],
    ["udp", "vxlan"],
  ])("from %s to %s", { timeout: 180_000 }, async (from, to) => {
    await cluster.untilConnected();
    const before = HOSTS.map((number) => net.host(number).subnetEnv().subnets);
    const reports = await changeHostByHost(cluster, from, to);
    for (const { sent, lost } of reports) {
      expect(sent).toBeGreaterThan(500);
      // Each pair has two restarts; the kernel's backends carry on without the daemon.
      expect(lost.length).toBeLessThan(from === "udp" ? 2 * UDP_RESTART_PACKETS : 1);
    }
    process.stdout.write(`${from} to ${to}: ${lostOf(reports).join("; ") || "no packet lost"}\n`);
    expect(HOSTS.map((number) => net.host(number).subnetEnv().subnets)).toEqual(before);
  });
});

describeWithEtcd("a change of the backend that does not go straight on", () => {
  const cluster = useTalkingCluster("turns", "vxlan");
  const { net } = cluster;

  async function expectNoneLost(body: () => Promise<void>): Promise<void> {
    expect(lostOf(await cluster.whileTalking(body))).toEqual([]);
  }

  async function follow(number: (typeof HOSTS)[number], type: string): Promise<void> {
    await cluster.restart(number);
    await cluster.untilServing(number, type);
  }

  it("keeps the former backend over another restart, and over a crash while it is being prepared", async () => {
    await cluster.untilConnected();
    net.putConfig(config("host-gw"));
    await expectNoneLost(async () => {
      await cluster.restart(1);
      await net.host(1).daemon.kill();
      await net.host(1).daemon.start(...net.flags);
      await cluster.untilServing(1, "host-gw");
      await cluster.restart(1);
      const { daemon } = net.host(1);
      await daemon.until(
        ({ network, peers }) => network.formerBackends?.join() === "vxlan" && peers.length === 2,
        "has both",
      );
      expect(cluster.value(net.host(1))).toMatchObject({ BackendType: "host-gw" });
    });
  });

  it("reaches hosts of three backends, when a second change begins before the first has ended", async () => {
    net.putConfig(config("udp"));
    await expectNoneLost(async () => {
      await follow(1, "udp");
      await follow(2, "udp");
    });
    const status = await net.host(1).daemon.status();
    expect(status).toMatchObject({ network: { backend: "udp", formerBackends: ["host-gw", "vxlan"] } });
    expect(cluster.value(net.host(3))).toMatchObject({ BackendType: "vxlan" });
  });

  it("goes back to the first one", { timeout: 90_000 }, async () => {
    net.putConfig(config("vxlan"));
    // What goes between the two hosts of udp is lost while either is restarted.
    await cluster.whileTalking(async () => {
      await follow(1, "vxlan");
      await follow(2, "vxlan");
      await cluster.untilAlone();
    });
    await expectNoneLost(async () => {
      await net
        .host(3)
        .daemon.until(({ problems }) => problems.length === 0, "has the configuration in force");
    });
    for (const number of HOSTS) await expect.poll(() => cluster.devices(number), WAIT).toEqual(["flannel.1"]);
    expect(cluster.migrate()).toEqual({ code: 0, out: "all 3 hosts use vxlan\n" });
  });

  it("changes to another VNI in the same way", { timeout: 90_000 }, async () => {
    net.putConfig(config("vxlan", { VNI: 7 }));
    expect(cluster.migrate().out).toContain("3 of 3 hosts do not use vxlan yet");
    await expectNoneLost(async () => {
      for (const number of HOSTS) {
        await cluster.restart(number);
        const isServing = () =>
          JSON.stringify(cluster.value(net.host(number))).includes('"BackendData":{"VNI":7');
        await expect.poll(isServing, WAIT).toBe(true);
      }
      await cluster.untilAlone();
    });
    for (const number of HOSTS) await expect.poll(() => cluster.devices(number), WAIT).toEqual(["flannel.7"]);
  });
});
