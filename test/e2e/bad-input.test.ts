/** Wrong input from people and stores: one clear sentence each, and no harm to other hosts. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Daemon } from "../../agent/demo/daemon.ts";
import { dataPathOf } from "../support/data-path.ts";
import { startEtcd } from "../support/etcd.ts";
import { describeWithEtcd, type Host, startPing, TULLED, useEtcdLab, useLab } from "../support/hosts.ts";

/** Beyond SubnetMax is what others put into the network. */
const CONFIG = { Network: "10.2.0.0/16", SubnetMax: "10.2.199.0", Backend: { Type: "vxlan" } };
const WAIT = { timeout: 15_000, interval: 30 };

describeWithEtcd("a network configuration that comes late", () => {
  const net = useEtcdLab("late", { hosts: 1, config: null });

  it("is waited for, named while it is missing or wrong, and then used", async () => {
    const { daemon } = net.host(1);
    daemon.spawn(...net.flags);
    await expect.poll(() => daemon.log, WAIT).toMatch(/waiting for a network configuration.*tulle net init/);
    net.put("config", '{"Network":"10.2.0.0/33"}');
    await expect.poll(() => daemon.log, WAIT).toContain("10.2.0.0/33");
    net.put("config", '{"Network": ');
    await expect.poll(() => daemon.log, WAIT).toMatch(/waiting for a network configuration.*JSON/);
    expect(daemon.pid).not.toBeNull();
    net.putConfig(CONFIG);
    const status = await daemon.until(({ isReady }) => isReady, "is ready");
    expect(status.network.ranges).toEqual(["10.2.0.0/16"]);
  });
});

describeWithEtcd("a store that is not there", () => {
  const lab = useLab("nostore");

  it("is waited for, and used once it comes", async () => {
    const host = lab().addHost();
    host.daemon.spawn(`-etcd-endpoints=http://${host.address}:2379`, "-iface=eth0");
    await expect.poll(() => host.daemon.log, WAIT).toMatch(/warn .*192\.168\.50\.11:2379/);
    expect(host.daemon.pid).not.toBeNull();
    const etcd = await startEtcd({ places: [{ netns: host.netns, host: host.address }] });
    try {
      etcd.ctl("put", "/coreos.com/network/config", JSON.stringify(CONFIG));
      await host.daemon.until(({ isReady }) => isReady, "is ready");
    } finally {
      await host.daemon.stop();
      await etcd.stop();
    }
  });

  it("does not keep the daemon from stopping when it is asked to", async () => {
    const host = lab().addHost();
    host.daemon.spawn("-etcd-endpoints=http://192.168.50.200:2379", "-iface=eth0");
    await expect.poll(() => host.daemon.log, WAIT).toMatch(/warn .*192\.168\.50\.200:2379/);
    expect(await host.daemon.stop()).toBe(0);
  });

  it.each([
    ["ftp://192.168.50.11:2379", /ftp/],
    ["http://192.168.50.11:99999", /99999/],
    ["http://", /endpoint/],
  ])("is refused at once when its address cannot be right: %s", async (endpoint, named) => {
    const { daemon } = lab().addHost();
    daemon.spawn(`-etcd-endpoints=${endpoint}`, "-iface=eth0");
    expect(await daemon.ended()).toBe(1);
    expect(daemon.log).toMatch(named);
    expect(daemon.log).toContain("[TULLE_CONFIG]");
  });
});

describeWithEtcd("a host that is set up wrongly", () => {
  const net = useEtcdLab("wrong", { hosts: 3, config: CONFIG });

  beforeAll(() => net.host(1).daemon.start(...net.flags));

  it("is told that another daemon has the device", async () => {
    const host = net.host(1);
    const before = dataPathOf(host.netns);
    const second = () =>
      host.run(
        ...TULLED,
        ...net.flags,
        `--state-dir=${host.stateDirectory}-2`,
        "--run-dir=/run/second",
        "-subnet-file=/run/second/subnet.env",
      );
    expect(second).toThrow(/another tulled manages flannel\.1 .*different VNIs.*\[TULLE_ALREADY_RUNNING\]/s);
    expect(dataPathOf(host.netns)).toBe(before);
    expect((await host.daemon.status())?.isReady).toBe(true);
  });

  it("is told that the firewall is another daemon's, whose network goes on", async () => {
    const host = net.host(1);
    const rules = () => host.run("iptables-save", "-t", "filter").match(/^-A .*$/gm);
    const before = rules();
    net.etcd.ctl("put", "/second/config", '{"Network":"10.3.0.0/16","Backend":{"Type":"vxlan","VNI":2}}');
    const second = new Daemon({
      command: host.enter(...TULLED),
      runDirectory: join(host.runDirectory, "second"),
      logFile: join(host.runDirectory, "second.log"),
    });
    const own = [
      "--state-dir=/run/second/state",
      "--run-dir=/run/second/tulle",
      "-subnet-file=/run/second/env",
    ];
    const { problems } = await second.start(...net.flags, "-etcd-prefix=/second", ...own);
    expect(problems).toEqual([expect.stringMatching(/another tulled .* keeps the firewall.*accept what/)]);
    expect(await second.stop()).toBe(0);
    expect(rules()).toEqual(before);
    expect(before).not.toBeNull();
    host.netns.ip("link delete flannel.2");
    expect((await host.daemon.status())?.problems).toEqual([]);
  });

  it("is not ready while subnet.env cannot be written, says why, and is once it can", async () => {
    const { daemon, runDirectory } = net.host(1);
    const path = join(runDirectory, "in-the-way");
    mkdirSync(path);
    await daemon.stop();
    const logged = daemon.log.length;
    daemon.spawn(...net.flags, "-subnet-file=/run/in-the-way");
    const cannotWrite =
      /subnet file \/run\/in-the-way cannot be written.*is a directory, not a regular file: remove it/;
    const { isReady, blocking } = await daemon.until(
      (status) => status.problems.some((problem) => cannotWrite.test(problem)),
      "says that it cannot write",
    );
    expect(isReady).toBe(false);
    expect(blocking.join()).toMatch(cannotWrite);
    expect(daemon.log.slice(logged)).not.toMatch(/info {2}ready /);
    rmdirSync(path);
    const { problems: rest } = await daemon.until((status) => status.isReady, "is ready");
    expect(rest).toEqual([]);
    expect(readFileSync(path, "utf8")).toContain("FLANNEL_SUBNET=");
    await daemon.stop();
    await daemon.start(...net.flags);
  });

  it("is told that it lacks the privilege, before it leases anything", () => {
    const host = net.host(2);
    const without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    const start = () => host.run(...without, ...TULLED, ...net.flags);
    const before = [...net.leases().keys()];
    expect(start).toThrow(/CAP_NET_ADMIN is missing: run tulled as root.*\[TULLE_PREREQUISITE\]/);
    expect([...net.leases().keys()]).toEqual(before);
  });

  it.each<[string, (path: string) => void]>([
    ["a FIFO", (path) => execFileSync("mkfifo", [path])],
    ["a symbolic link", (path) => symlinkSync("/etc/passwd", path)],
  ])(
    "ends with one sentence on %s in place of its identity, and changes nothing behind it",
    async (kind, make) => {
      const { daemon, stateDirectory } = net.host(2);
      const before = readFileSync("/etc/passwd", "utf8");
      const path = join(stateDirectory, "identity.json");
      rmSync(path, { force: true });
      mkdirSync(stateDirectory, { recursive: true });
      make(path);
      daemon.spawn(...net.flags);
      expect(await daemon.ended()).toBe(1);
      expect(daemon.log).toContain(`${path} is ${kind}, not a regular file: remove it`);
      expect(readFileSync("/etc/passwd", "utf8")).toBe(before);
      rmSync(path);
    },
  );

  it("runs and stops with FIFOs in place of its other files, which are named", async () => {
    const { daemon, stateDirectory, runDirectory } = net.host(1);
    const files = [join(stateDirectory, "network.json"), join(runDirectory, "fifo.env")];
    await daemon.stop();
    for (const file of files) {
      rmSync(file, { force: true });
      execFileSync("mkfifo", [file]);
    }
    daemon.spawn(...net.flags, "-subnet-file=/run/fifo.env");
    await daemon.until(({ problems }) => problems.length > 0, "has a problem");
    expect(daemon.log).toContain(`${files[0]} is a FIFO, not a regular file`);
    expect(daemon.log).toContain("/run/fifo.env is a FIFO, not a regular file");
    expect(await daemon.stop()).toBe(0);
    for (const file of files) rmSync(file);
    await daemon.start(...net.flags);
  });

  it("is told which interface does not exist", async () => {
    const { daemon } = net.host(2);
    daemon.spawn(...net.flags.filter((flag) => !flag.startsWith("-iface")), "-iface=eth7");
    expect(await daemon.ended()).toBe(1);
    expect(daemon.log).toMatch(/eth7.*\[TULLE_INTERFACE\]/);
  });

  it.each([
    ["-subnet-lease-renew-margin=0", /subnet-lease-renew-margin.*"0".*1439/],
    ["-etcd-prefx=/docker-test", /etcd-prefx.*etcd-prefix/],
    ["-public-ip=10.2.3", /public-ip.*10\.2\.3/],
    ["-kube-subnet-mgr=true", /kube-subnet-mgr/],
  ])("is told what is wrong with %s", async (flag, named) => {
    const { daemon } = net.host(2);
    daemon.spawn(...net.flags, flag);
    expect(await daemon.ended()).toBe(1);
    expect(daemon.log).toMatch(named);
  });

  it("is heard of by the host whose public address it took", async () => {
    const [first, twin] = [net.host(1), net.host(3)];
    const key = [...net.leases().keys()].join();
    await twin.daemon.start(...net.flags, `-public-ip=${first.address}`);
    const { isReady, problems } = await first.daemon.until((status) => !status.isReady, "is unready");
    expect(isReady).toBe(false);
    expect(problems.join("\n")).toContain(key);
    expect(problems.join("\n")).toContain(first.address);
    await twin.daemon.stop();
  });

  it.each([
    ["another type", "type bridge", /link flannel\.1.*of type bridge exists; delete or rename it/],
    [
      "another VNI",
      "type vxlan id 7 dev eth0 dstport 8472",
      /link flannel\.1.*VNI 7 exists.*delete or rename it/,
    ],
  ])("is told that the device's name is taken by a device of %s, and waits", async (_what, kind, named) => {
    const { daemon, netns } = net.host(2);
    netns.ip(`link add flannel.1 ${kind}`);
    daemon.spawn(...net.flags);
    await expect.poll(() => daemon.log, WAIT).toMatch(named);
    expect((await daemon.status())?.isReady).toBe(false);
    expect(() => net.host(2).subnetFileText()).toThrow(/ENOENT/);
    netns.ip("link delete flannel.1");
    await daemon.until(({ isReady }) => isReady, "is ready");
    expect(net.host(2).subnetEnv().mtuBytes).toBe(1450);
    await daemon.stop();
    netns.ip("link delete flannel.1");
    rmSync(join(net.host(2).runDirectory, "flannel"), { recursive: true });
  });
});

describeWithEtcd("leases in the store that cannot be right", () => {
  const net = useEtcdLab("leases", { hosts: 2, config: CONFIG });

  beforeAll(async () => {
    await net.startAll();
    for (const host of net.lab.hosts) host.addContainer();
    const isSettled = ({ peers, kernel }: { peers: readonly unknown[]; kernel: { isConverged: boolean } }) =>
      peers.length === 1 && kernel.isConverged;
    await Promise.all(net.lab.hosts.map(({ daemon }) => daemon.until(isSettled, "knows its peer")));
  });

  const lease = (fields: object) =>
    JSON.stringify({ PublicIP: "192.168.50.60", PublicIPv6: null, BackendType: "vxlan", ...fields });
  const vxlan = (mac: string) => ({ BackendData: { VNI: 1, VtepMAC: mac } });

  describe.each([
    ["no JSON", "10.2.250.0-24", "certainly {not json"],
    ["no object", "10.2.250.0-24", '["a","b"]'],
    ["without an address", "10.2.250.0-24", lease({ PublicIP: null, ...vxlan("02:00:00:00:00:01") })],
    ["a subnet outside the network", "10.77.1.0-24", lease(vxlan("02:00:00:00:00:01"))],
    ["a subnet that holds everybody's", "10.2.0.0-16", lease(vxlan("02:00:00:00:00:01"))],
    ["a multicast address", "10.2.250.0-24", lease({ PublicIP: "224.0.0.7", ...vxlan("02:00:00:00:00:01") })],
    ["a loopback address", "10.2.250.0-24", lease({ PublicIP: "127.0.0.1", ...vxlan("02:00:00:00:00:01") })],
    ["our own address", "10.2.250.0-24", lease({ PublicIP: "192.168.50.11", ...vxlan("02:00:00:00:00:01") })],
    ["a multicast hardware address", "10.2.250.0-24", lease(vxlan("01:00:5e:00:00:01"))],
    ["a hardware address that is none", "10.2.250.0-24", lease(vxlan("02:00:00"))],
    ["no backend data", "10.2.250.0-24", lease({})],
  ])("with %s", (_what, key, value) => {
    it("are refused by name, and nothing changes", async () => {
      await expectNoHarm(async (host) => {
        net.put(`subnets/${key}`, value);
        const { refused } = await host.daemon.until((status) => status.refused.length > 0, "refuses it");
        expect(refused.map((entry) => entry.key)).toEqual([key]);
        expect(refused[0]?.reason).toContain(key);
        net.delete(`subnets/${key}`);
        await host.daemon.until((status) => status.refused.length === 0, "has forgotten it");
      });
    });
  });

  it("of another kind of backend, or under keys that are no lease, change nothing", async () => {
    await expectNoHarm(async () => {
      net.put("subnets/10.2.251.0-24", lease({ BackendType: "host-gw" }));
      net.put("subnets/hello", "world");
      net.put("subnets-of-somebody-else", "{}");
      await new Promise((resolve) => setTimeout(resolve, 300));
      for (const key of ["subnets/10.2.251.0-24", "subnets/hello", "subnets-of-somebody-else"])
        net.delete(key);
    });
  });

  it("that replace a good one leave the peer where it was", async () => {
    const peer = net.host(2);
    const key = `${peer.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, ".0-24");
    const good = net.leases().get(key) ?? "";
    await expectNoHarm(async (host) => {
      net.put(`subnets/${key}`, "damaged");
      await host.daemon.until((status) => status.refused.length > 0, "says so");
      await new Promise((resolve) => setTimeout(resolve, 300));
      net.put(`subnets/${key}`, good);
      await host.daemon.until((status) => status.refused.length === 0, "is content again");
    });
  });

  /** Runs the action under a ping between the two hosts; not one packet may be lost, not one object may differ. */
  async function expectNoHarm(action: (host: Host) => Promise<void>): Promise<void> {
    const [host, peer] = [net.host(1), net.host(2)];
    const [from, to] = [host.containers[0], peer.containers[0]];
    if (from === undefined || to === undefined) throw new Error("no containers");
    const before = dataPathOf(host.netns);
    const running = startPing(from.netns, to.address);
    try {
      await action(host);
    } finally {
      const { lost } = await running.stop();
      expect(lost).toEqual([]);
    }
    expect(dataPathOf(host.netns)).toBe(before);
  }
});
