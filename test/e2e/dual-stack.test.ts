/** Networks with IPv6: beside IPv4 and alone, among hosts with tulled and hosts that a hand configures as flanneld does. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { entriesOf, type Family } from "../../ipam/addresses/ip.ts";
import { missingConsul, startConsul } from "../support/consul.ts";
import { dataPathOf } from "../support/data-path.ts";
import { BOTH, expectReach, ONLY_IPV6 } from "../support/dual-stack.ts";
import {
  type Container,
  createLab,
  describeWithEtcd,
  fileStoreOf,
  type Host,
  type Lab,
  ping,
  startPing,
  TULLE,
  useEtcdLab,
} from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";
import { addReadyContainer } from "../support/ready-container.ts";

const LATE_LEASE = JSON.stringify({
  PublicIP: "192.168.50.99",
  PublicIPv6: "fd50::99",
  BackendType: "vxlan",
  BackendData: { VNI: 1, VtepMAC: "02:00:00:00:99:04" },
  BackendV6Data: { VNI: 1, VtepMAC: "02:00:00:00:99:06" },
});

/** IPv6 40 + ICMPv6 8. */
const HEADER_BYTES = 48;

const lines = (host: Host, ...command: string[]) =>
  host
    .run(...command)
    .trim()
    .split("\n")
    .map((line) => line.trim().replace(/ +/g, " "));

describeWithEtcd("a network of both families", () => {
  const net = useEtcdLab("dual", { hosts: 2, config: BOTH, families: [4, 6] });
  let one: Container;
  let two: Container;

  it("carries packets of both, small and as large as subnet.env says", async () => {
    await net.startAll();
    one = await addReadyContainer(net.host(1));
    two = await addReadyContainer(net.host(2));
    await expectReach(one, two);
    await expectReach(two, one);
    expect(net.host(1).subnetEnv().mtuBytes).toBe(1430);
    const payloadBytes = 1430 - HEADER_BYTES;
    expect(await ping(one.netns, two.addresses[6] ?? "", 2, { payloadBytes })).toMatchObject({ lost: [] });
    expect(await ping(one.netns, two.address, 2, { payloadBytes })).toMatchObject({ lost: [] });
  });

  it("has the keys, devices, routes, neighbours and forwarding entries that flanneld has", () => {
    const [host, peer] = [net.host(1), net.host(2)];
    const { subnets } = peer.subnetEnv();
    const [base4, base6] = [subnets[4]?.address.plus(-1), subnets[6]?.address.plus(-1)];
    expect([...net.leases().keys()]).toContain(`${base4}-24&${base6}-64`);
    const [value = ""] = [...net.leases()].flatMap(([key, text]) =>
      key.startsWith(`${base4}-`) ? [text] : [],
    );
    const lease = JSON.parse(value) as {
      BackendData: { VtepMAC: string };
      BackendV6Data: { VtepMAC: string };
    };
    expect(lease).toMatchObject({
      PublicIP: peer.addresses[4],
      PublicIPv6: peer.addresses[6],
      BackendType: "vxlan",
      BackendData: { VNI: 1 },
      BackendV6Data: { VNI: 1 },
    });
    expect(host.netns.ipJson(["link", "show", "flannel.1"])[0]?.mtu).toBe(1450);
    expect(host.netns.ipJson(["link", "show", "flannel-v6.1"])[0]?.mtu).toBe(1430);
    const mac = lease.BackendV6Data.VtepMAC;
    expect(lines(host, "ip", "-6", "route", "show", `${base6}/64`)).toEqual([
      `${base6}/64 via ${base6} dev flannel-v6.1 proto 116 metric 1024 onlink pref medium`,
    ]);
    expect(lines(host, "ip", "-6", "neighbour", "show", "dev", "flannel-v6.1")).toEqual([
      `${base6} lladdr ${mac} PERMANENT`,
    ]);
    expect(lines(host, "bridge", "fdb", "show", "dev", "flannel-v6.1")).toContain(
      `${mac} dst ${peer.addresses[6]} self permanent`,
    );
  });

  it("writes the IPv6 lines of subnet.env", () => {
    const { address } = net.host(1).subnetEnv().subnets[6] ?? {};
    expect(net.host(1).subnetFileText()).toContain(
      `FLANNEL_IPV6_NETWORK=fd00:2::/48\nFLANNEL_IPV6_SUBNET=${address}/64\nFLANNEL_MTU=1430\n`,
    );
  });

  it("loses no packet of either family when a daemon starts again", async () => {
    const running = Object.values(two.addresses).map((address) => startPing(one.netns, address));
    const host = net.host(2);
    await host.daemon.stop();
    await host.daemon.start(...net.flags);
    await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    const reports = await Promise.all(running.map((each) => each.stop()));
    expect(reports.map(({ lost }) => lost)).toEqual([[], []]);
    expect(reports.every(({ sent }) => sent > 5)).toBe(true);
  });

  it("goes on with IPv4 when a daemon starts before the IPv6 address is there", async () => {
    const host = net.host(2);
    const before = dataPathOf(host.netns);
    const lease = [...net.leases()];
    const running = startPing(one.netns, two.address);
    await host.daemon.stop();
    host.netns.ip(`address del ${host.addresses[6]}/64 dev eth0`);
    host.daemon.spawn(...net.flags);
    const waiting = await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    expect(waiting.isReady).toBe(false);
    expect(waiting.problems.join()).toMatch(/eth0 has only link-local IPv6 addresses/);
    expect(dataPathOf(host.netns)).toBe(before);
    // It follows its peers.
    net.put("subnets/10.2.99.0-24&fd00:2:0:63::-64", LATE_LEASE);
    await host.daemon.until(({ peers }) => peers.length === 2, "learns a peer");
    expect(lines(host, "ip", "route", "show", "10.2.99.0/24")).toHaveLength(1);
    net.delete("subnets/10.2.99.0-24&fd00:2:0:63::-64");

    host.netns.ip(`address add ${host.addresses[6]}/64 dev eth0 nodad`);
    await host.daemon.until(
      ({ isReady, peers }) => isReady && peers.length === 1,
      "has all that it waited for",
    );
    expect(dataPathOf(host.netns)).toBe(before);
    expect([...net.leases()]).toEqual(lease);
    expect((await running.stop()).lost).toEqual([]);
    await expectReach(one, two);
  });

  it("puts a deleted device of either family back", async () => {
    const host = net.host(1);
    for (const device of ["flannel.1", "flannel-v6.1"]) {
      host.run("ip", "link", "delete", device);
      const flags = () => host.netns.ipJson(["link", "show", device]).flatMap((link) => link.flags ?? []);
      await expect.poll(flags, { timeout: 5_000, interval: 20 }).toContain("UP");
    }
    await host.daemon.until(({ kernel, isReady }) => isReady && kernel.isConverged, "is whole again");
    await expectReach(one, two);
  });

  it("shows both families to people", () => {
    const tulle = (...args: string[]) => net.host(1).run(...TULLE, ...args);
    const status = tulle("status");
    expect(status).toContain(net.host(2).addresses[4]);
    expect(status).toContain(net.host(2).addresses[6]);
    expect(status).toContain("flannel-v6.1");
    const doctor = tulle("doctor", ...net.flags, `--state-dir=${net.host(1).stateDirectory}`);
    expect(doctor).not.toMatch(/^fail/m);
  });
});

describeWithEtcd("a network of IPv6 only", () => {
  const net = useEtcdLab("six", { hosts: 3, config: ONLY_IPV6, families: [4, 6] });

  it("gives every host a subnet of its own, and carries packets", async () => {
    await net.startAll();
    const keys = [...net.leases().keys()];
    expect(new Set(keys).size).toBe(3);
    for (const key of keys) expect(key).toMatch(/^0\.0\.0\.0-0&fd00:2:[\da-f:]*-64$/);
    for (const value of net.leases().values()) expect(value).toContain('"PublicIP":"0.0.0.0"');
    const [one, two] = [await addReadyContainer(net.host(1)), await addReadyContainer(net.host(2))];
    await expectReach(one, two);
    expect(net.host(1).subnetFileText()).toMatch(
      /^FLANNEL_IPV6_NETWORK=.*\nFLANNEL_IPV6_SUBNET=.*\nFLANNEL_MTU=1430\n/,
    );
    expect(
      net
        .host(1)
        .netns.ipJson(["link", "show"])
        .map(({ ifname }) => ifname),
    ).not.toContain("flannel.1");
  });
});

describeWithEtcd("a network of both families with a flannel host", () => {
  const net = useEtcdLab("mixed6", { hosts: 2, config: BOTH, families: [4, 6] });
  const MACS = { 4: "02:42:0a:02:07:04", 6: "02:42:0a:02:07:06" } as const;
  const BASES = { 4: "10.2.7.0", 6: "fd00:2:0:7::" } as const;
  const KEY = "10.2.7.0-24&fd00:2:0:7::-64";
  const DEVICES = { 4: "flannel.1", 6: "flannel-v6.1" } as const;
  let ours: Container;
  let theirs: Container;

  /** In the store before another host may lease that subnet by chance. */
  function publish(): void {
    const { addresses } = net.host(2);
    const data = (family: Family) => `{"VNI":1,"VtepMAC":"${MACS[family]}"}`;
    net.put(
      `subnets/${KEY}`,
      `{"PublicIP":"${addresses[4]}","PublicIPv6":"${addresses[6]}","BackendType":"vxlan","BackendData":${data(4)},"BackendV6Data":${data(6)}}`,
    );
  }

  /** The devices and the way to host1, as flanneld makes them. */
  function playFlanneld(): void {
    const host = net.host(2);
    for (const [family, device] of entriesOf(DEVICES)) {
      const mtu = family === 4 ? 1450 : 1430;
      host.netns.ip(
        `link add ${device} address ${MACS[family]} mtu ${mtu} type vxlan id 1 local ${host.addresses[family]} dev eth0 dstport 8472 nolearning`,
        `address add ${BASES[family]}/${family === 4 ? 32 : 128} dev ${device} scope global`,
        `link set ${device} up`,
      );
    }
    const [key = "", value = ""] = [...net.leases()].find(([name]) => name !== KEY) ?? [];
    const { BackendData, BackendV6Data } = JSON.parse(value) as Record<string, { VtepMAC: string }>;
    for (const part of key.split("&")) {
      const base = part.slice(0, part.lastIndexOf("-"));
      const [family, mac] = base.includes(":")
        ? ([6, BackendV6Data?.VtepMAC] as const)
        : ([4, BackendData?.VtepMAC] as const);
      const device = DEVICES[family];
      host.netns.ip(
        `neighbour replace ${base} lladdr ${mac} dev ${device} nud permanent`,
        `route replace ${base}/${family === 4 ? 24 : 64} via ${base} dev ${device} onlink`,
      );
      const entry = [
        `${mac}`,
        "dev",
        device,
        "dst",
        net.host(1).addresses[family] ?? "",
        "self",
        "permanent",
      ];
      host.netns.exec("bridge", ["fdb", "replace", ...entry]);
    }
    const directory = join(host.runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    const env = [
      "FLANNEL_NETWORK=10.2.0.0/16",
      "FLANNEL_SUBNET=10.2.7.1/24",
      "FLANNEL_IPV6_NETWORK=fd00:2::/48",
      "FLANNEL_IPV6_SUBNET=fd00:2:0:7::1/64",
      "FLANNEL_MTU=1450",
      "FLANNEL_IPMASQ=false",
      "",
    ];
    writeFileSync(join(directory, "subnet.env"), env.join("\n"));
  }

  it("reaches containers behind it, and is reached by them", async () => {
    publish();
    await net.host(1).daemon.start(...net.flags);
    ours = await addReadyContainer(net.host(1));
    playFlanneld();
    theirs = await addReadyContainer(net.host(2));
    await net.host(1).daemon.until(({ peers }) => peers.length === 1, "knows its peer");
    await expectReach(ours, theirs);
    await expectReach(theirs, ours);
  });

  it("takes the host over with its lease and both devices, without a lost packet", async () => {
    const host = net.host(2);
    const devices = () =>
      entriesOf(DEVICES).map(([, name]) => host.netns.ipJson(["link", "show", name])[0]?.ifindex);
    const before = devices();
    const running = Object.values(theirs.addresses).map((address) => startPing(ours.netns, address));
    await host.daemon.start(...net.flags);
    await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await Promise.all(running.map((each) => each.stop()))).map(({ lost }) => lost)).toEqual([[], []]);
    expect(devices()).toEqual(before);
    expect(net.leases().get(KEY)).toContain(MACS[6]);
    expect(host.subnetFileText()).toContain("FLANNEL_IPV6_SUBNET=fd00:2:0:7::1/64\nFLANNEL_MTU=1430");
  });

  it("is gone after a cleanup, in both families", async () => {
    const host = net.host(2);
    await host.daemon.stop();
    const state = `--state-dir=${host.stateDirectory}`;
    host.run(...TULLE, "cleanup", state);
    const names = host.netns.ipJson(["link", "show"]).map(({ ifname }) => ifname);
    expect(names.filter((name) => String(name).startsWith("flannel"))).toEqual([]);
    expect(host.run("ip", "-6", "route", "show", "proto", "116")).toBe("");
    expect(host.run("ip6tables-save")).not.toContain("FLANNEL");
  });
});

describeWithEtcd("hosts whose families leave by different interfaces", () => {
  const net = useEtcdLab("apart", { hosts: 2, config: BOTH, families: [4, 6] });

  it("send each family by its own", async () => {
    for (const [index, host] of net.lab.hosts.entries()) {
      host.run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global");
      host.run("ip", "-6", "route", "delete", "default");
      host.netns.ip(
        `link add eth1 type veth peer name wan${index} netns ${net.lab.lan.name}`,
        "link set eth1 up",
      );
      net.lab.lan.ip(`link set wan${index} up master lan`);
      host.run("ip", "address", "add", `fd00:60::${index + 1}/64`, "dev", "eth1", "nodad");
      host.run("ip", "-6", "route", "add", "default", "via", "fd00:60::ff");
    }
    const flags = net.flags.filter((flag) => !flag.startsWith("-iface"));
    await Promise.all(net.lab.hosts.map((host) => host.daemon.start(...flags)));
    const [one, two] = [await addReadyContainer(net.host(1)), await addReadyContainer(net.host(2))];
    await expectReach(one, two);
    const device = net.host(1).netns.ipJson(["-d", "link", "show", "flannel-v6.1"])[0];
    expect(JSON.stringify(device)).toContain('"link":"eth1"');
    expect(await net.host(1).daemon.status()).toMatchObject({ interface: { name: "eth0, eth1" } });
  });
});

const missing = missingConsul();
if (missing !== null && process.env.CI) throw new Error(missing);

/** Starts a store of its own that holds the network; answers the daemons' flags. */
const STORES: Readonly<Record<string, (lab: Lab, config: object) => Promise<readonly string[]>>> = {
  "a file": async (lab, config) => [`--store=${await fileStoreOf(lab, config)}`],
  Consul: async (lab, config) => {
    const socketFile = join(lab.directory, "consul.sock");
    const consul = await startConsul({ socketFile });
    onTestFinished(() => consul.stop());
    await consul.api("PUT", "kv/coreos.com/network/config", JSON.stringify(config));
    return ["--store=consul", `--consul-address=unix://${socketFile}`];
  },
};

describeAsRoot("IPv6 in other stores", () => {
  const cases = Object.keys(STORES).flatMap((name) => [
    [name, "both families", BOTH] as const,
    [name, "IPv6 only", ONLY_IPV6] as const,
  ]);

  it.skipIf(missing !== null).each(cases)("%s holds a network of %s", async (name, _what, config) => {
    const lab = createLab("stores6", 1500, [4, 6]);
    onTestFinished(() => lab.dispose());
    const flags = [...((await STORES[name]?.(lab, config)) ?? []), "-iface=eth0"];
    const hosts = [lab.addHost(), lab.addHost()];
    await Promise.all(hosts.map((host) => host.daemon.start(...flags)));
    const containers = [];
    for (const host of hosts) containers.push(await addReadyContainer(host));
    const [one, two] = containers;
    if (one === undefined || two === undefined) throw new Error("two containers are needed");
    await expectReach(one, two);
    const [host] = hosts;
    if (host === undefined) throw new Error("a host is needed");
    const before = host.subnetFileText();
    await host.daemon.stop();
    await host.daemon.start(...flags);
    expect(host.subnetFileText()).toBe(before);
    await expectReach(two, one);
  });
});
