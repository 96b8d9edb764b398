/** A change of the backend across running hosts, one by one, while the containers of all of them talk. */

import { expect, it } from "vitest";
import { FlannelPeer } from "../support/flannel-peer.ts";
import {
  type Container,
  describeWithEtcd,
  type Host,
  ping,
  startPing,
  useEtcdLab,
} from "../support/hosts.ts";
import {
  changeHostByHost,
  config,
  expectNoneLost,
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
    process.stdout.write(`${from} to ${to}: ${lostOf(reports).join("; ") || "no packet lost"}\n`);
    for (const { sent, lost } of reports) {
      expect(sent).toBeGreaterThan(500);
      // Each pair has two restarts.
      expect(lost.length).toBeLessThan(2 * UDP_RESTART_PACKETS);
    }
    // The kernel's backends carry on without the daemon.
    if (from !== "udp") expectNoneLost(reports);
    expect(HOSTS.map((number) => net.host(number).subnetEnv().subnets)).toEqual(before);
  });
});

describeWithEtcd("a change of the backend in a network of both families, host by host", () => {
  const cluster = useTalkingCluster("both", "vxlan", [4, 6]);

  it.each([
    ["vxlan", "host-gw"],
    ["host-gw", "vxlan"],
  ])("from %s to %s", { timeout: 180_000 }, async (from, to) => {
    await cluster.untilConnected();
    expectNoneLost(await changeHostByHost(cluster, from, to));
  });
});

describeWithEtcd("a change of the backend that does not go straight on", () => {
  const cluster = useTalkingCluster("turns", "vxlan");
  const { net } = cluster;

  async function expectCalm(body: () => Promise<void>): Promise<void> {
    expectNoneLost(await cluster.whileTalking(body));
  }

  async function follow(number: (typeof HOSTS)[number], type: string): Promise<void> {
    await cluster.restart(number);
    await cluster.untilServing(number, type);
  }

  it("keeps the former backend over another restart, and over a crash while it is being prepared", async () => {
    await cluster.untilConnected();
    net.putConfig(config("host-gw"));
    await expectCalm(async () => {
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
    await expectCalm(async () => {
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
    await expectCalm(async () => {
      await net
        .host(3)
        .daemon.until(({ problems }) => problems.length === 0, "has the configuration in force");
    });
    for (const number of HOSTS) await expect.poll(() => cluster.devices(number), WAIT).toEqual(["flannel.1"]);
    expect(cluster.migrate()).toEqual({ code: 0, out: "all 3 hosts use vxlan\n" });
  });

  it("changes to another VNI in the same way, with strict checks of sources", {
    timeout: 90_000,
  }, async () => {
    for (const { netns } of net.lab.hosts) netns.exec("sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=1"]);
    net.putConfig(config("vxlan", { VNI: 7 }));
    expect(cluster.migrate().out).toContain("3 of 3 hosts do not use vxlan yet");
    await expectCalm(async () => {
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

describeWithEtcd("a change of the backend with a host of flanneld's", () => {
  const net = useEtcdLab("theirs", { hosts: 2, config: config("vxlan") });
  const base = "10.2.99.0";
  let boxes: readonly [Container, Container];

  const lostBoth = async (): Promise<readonly number[]> => {
    const [ours, theirs] = boxes;
    const there = await ping(ours.netns, theirs.addresses[4] ?? "", 3);
    const back = await ping(theirs.netns, ours.addresses[4] ?? "", 3);
    return [...there.lost, ...back.lost];
  };

  /** What a restarted flanneld has with the host-gw backend; it leaves its former device, without routes. */
  function restartWithHostGw(host: Host): void {
    const [ours] = [...net.leases().keys()].filter((key) => !key.startsWith(base));
    const value = JSON.stringify({ PublicIP: host.address, PublicIPv6: null, BackendType: "host-gw" });
    host.netns.ip(`route replace ${ours?.replace("-", "/")} via ${net.host(1).address} dev eth0`);
    net.put(`subnets/${base}-24`, value);
  }

  it("loses nothing: flanneld keeps its way to a host whose lease names another backend", async () => {
    const flannel = new FlannelPeer(net, net.host(2), base);
    flannel.join("02:42:0a:02:63:01");
    await net.host(1).daemon.start(...net.flags);
    flannel.learnPeers();
    boxes = [net.host(1).addContainer(), net.host(2).addContainer()];
    await expect.poll(lostBoth, WAIT).toEqual([]);
    const [ours, theirs] = boxes;
    const running = [
      startPing(ours.netns, theirs.addresses[4] ?? ""),
      startPing(theirs.netns, ours.addresses[4] ?? ""),
    ];
    const { daemon } = net.host(1);
    try {
      net.putConfig(config("host-gw"));
      await daemon.stop();
      await daemon.start(...net.flags);
      const isServing = () =>
        [...net.leases().values()].some((value) => value.includes('"BackendType":"host-gw"'));
      await expect.poll(isServing, WAIT).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 8_000)); // longer than a former backend stays unneeded
      expect((await daemon.status())?.network.formerBackends).toEqual(["vxlan"]);
      restartWithHostGw(net.host(2));
      await daemon.until(({ network }) => network.formerBackends === undefined, "has one backend");
    } finally {
      for (const each of running) expect((await each.stop()).lost).toEqual([]);
    }
    expect(await lostBoth()).toEqual([]);
    expect(await daemon.status()).toMatchObject({ isReady: true, problems: [] });
  });
});
