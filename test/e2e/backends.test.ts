/** What holds for every backend that runs without more than this kernel has: traffic, restarts, leaving, both families. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import {
  type Container,
  describeWithEtcd,
  type Host,
  ping,
  startPing,
  useEtcdLab,
} from "../support/hosts.ts";
import { addReadyContainer } from "../support/ready-container.ts";

const NETWORK = { Network: "10.2.0.0/16", EnableIPv6: true, IPv6Network: "fd00:2::/48" };

interface Case {
  readonly backend: Readonly<Record<string, unknown>>;
  /** The container MTU on a LAN of 1500 bytes. */
  readonly mtuBytes: number;
  /** A route to the peer's subnets, for each family. */
  readonly route: RegExp;
}

const CASES: readonly Case[] = [
  { backend: { Type: "vxlan" }, mtuBytes: 1430, route: / dev flannel(-v6)?\.1 .*onlink/ },
  { backend: { Type: "vxlan", DirectRouting: true }, mtuBytes: 1430, route: / dev eth0 / },
  { backend: { Type: "host-gw" }, mtuBytes: 1500, route: / dev eth0 / },
];

for (const { backend, mtuBytes, route } of CASES) {
  describeWithEtcd(`backend ${JSON.stringify(backend)}`, () => {
    const net = useEtcdLab("backends", {
      hosts: 2,
      config: { ...NETWORK, Backend: backend },
      families: [4, 6],
    });
    let one: Container;
    let two: Container;

    const routes = (host: Host): readonly string[] =>
      ["-4", "-6"].flatMap((family) =>
        host
          .run("ip", family, "route", "show", "proto", "116")
          .split("\n")
          .filter((line) => line !== ""),
      );

    it("carries packets of both families, up to the MTU of subnet.env", async () => {
      await net.startAll();
      one = await addReadyContainer(net.host(1));
      two = await addReadyContainer(net.host(2));
      expect(net.host(1).subnetEnv().mtuBytes).toBe(mtuBytes);
      for (const [family, address] of entriesOf(two.addresses)) {
        const payloadBytes = mtuBytes - (family === 4 ? 28 : 48);
        expect(await ping(one.netns, address, 5)).toMatchObject({ lost: [] });
        expect(await ping(one.netns, address, 2, { payloadBytes })).toMatchObject({ lost: [] });
      }
      for (const address of Object.values(one.addresses))
        expect(await ping(two.netns, address, 5)).toMatchObject({ lost: [] });
      expect(routes(net.host(1)).map((line) => route.test(`${line} `))).toEqual([true, true]);
    });

    it("loses no packet over a restart and a crash of a daemon", async () => {
      const running = Object.values(two.addresses).map((address) => startPing(one.netns, address));
      const { daemon } = net.host(2);
      await daemon.stop();
      await daemon.start(...net.flags);
      await daemon.kill();
      await daemon.start(...net.flags);
      await daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
      const reports = await Promise.all(running.map((each) => each.stop()));
      expect(reports.map(({ lost }) => lost)).toEqual([[], []]);
    });

    it("puts deleted routes back", async () => {
      const host = net.host(1);
      for (const line of routes(host)) {
        const [prefix = ""] = line.split(" ");
        host.run("ip", "route", "delete", prefix);
      }
      await expect.poll(() => routes(host).length, { timeout: 5_000, interval: 20 }).toBe(2);
    });

    it("removes the way to a host that leaves for good", async () => {
      const key = [...net.leases()].find(([, value]) => value.includes(net.host(2).address))?.[0] ?? "";
      await net.host(2).daemon.stop();
      net.delete(`subnets/${key}`);
      await expect.poll(() => routes(net.host(1)), { timeout: 10_000, interval: 20 }).toEqual([]);
    });
  });
}

describeWithEtcd("host-gw among hosts that are not on one link", () => {
  const net = useEtcdLab("far", {
    hosts: 2,
    // The lease that the test makes lies beyond what the host may lease.
    config: { ...NETWORK, SubnetMax: "10.2.63.0", Backend: { Type: "host-gw" } },
    families: [4, 6],
  });

  it("rejects the peer by name, and programs it when its address is on the link", async () => {
    await net.host(1).daemon.start(...net.flags);
    const lease = (ip: string) => `{"PublicIP":"${ip}","PublicIPv6":"fd00:50::77","BackendType":"host-gw"}`;
    net.put("subnets/10.2.200.0-24&fd00:2:0:200::-64", lease("198.51.100.7"));
    const problems = async () => (await net.host(1).daemon.status())?.problems.join() ?? "";
    await expect.poll(problems, { timeout: 10_000 }).toContain("198.51.100.7 is not on the link of eth0");
    expect(await net.host(1).daemon.status()).toMatchObject({ isReady: true, peers: [] });
    net.host(1).run("ip", "address", "add", "198.51.100.1/24", "dev", "eth0");
    const route = () => net.host(1).run("ip", "route", "show", "10.2.200.0/24");
    await expect.poll(route, { timeout: 10_000 }).toContain("via 198.51.100.7 dev eth0 proto 116");
    expect(await problems()).toBe("");
  });
});

describeWithEtcd("alloc", () => {
  const net = useEtcdLab("alloc", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", SubnetMax: "10.2.63.0", Backend: { Type: "alloc" } },
  });

  it("leases subnets and writes subnet.env, and programs nothing", async () => {
    await net.startAll();
    expect(net.leases().size).toBe(2);
    for (const value of net.leases().values())
      expect(value).toMatch(/^\{"PublicIP":"192\.168\.50\.\d+","PublicIPv6":null,"NodeID":"[\da-f]+"\}$/);
    expect(net.host(1).subnetEnv().mtuBytes).toBe(1500);
    expect(net.host(1).run("ip", "route", "show", "proto", "116")).toBe("");
    const links = net
      .host(1)
      .netns.ipJson(["link", "show"])
      .map(({ ifname }) => String(ifname));
    expect(links.filter((name) => name.startsWith("flannel"))).toEqual([]);
    expect(await net.host(1).daemon.status()).toMatchObject({ isReady: true, problems: [] });
  });

  it("counts a flannel host among its peers, in whatever words its lease is written", async () => {
    const value = { PublicIP: "192.168.50.99", PublicIPv6: null };
    net.put("subnets/10.2.99.0-24", JSON.stringify(value));
    net.put(
      "subnets/10.2.98.0-24",
      JSON.stringify({ ...value, PublicIP: "192.168.50.98", BackendType: "vxlan" }),
    );
    const { daemon } = net.host(1);
    const { peers } = await daemon.until((status) => status.peers.length === 3, "knows three peers");
    expect(peers.map(({ path }) => path)).toEqual(["external", "external", "external"]);
    expect(net.host(1).run("ip", "route", "show", "10.2.99.0/24")).toBe("");
    expect(await daemon.status()).toMatchObject({ isReady: true, problems: [], refused: [] });
  });
});

/** A VXLAN overlay by commands, in the manner of flannel's samples: pipes, quotes, variables and a shell of their own. */
const COMMANDS = {
  Type: "extension",
  PreStartupCommand:
    "ip link delete ext0 2>/dev/null; ip link add ext0 type vxlan id 9 dstport 8473 nolearning && ip -o link show ext0 | sed 's/.*ether \\([0-9a-f:]*\\) .*/\\1/'",
  PostStartupCommand:
    "sh -c 'ip address replace `echo $SUBNET | cut -d/ -f1`/32 dev ext0 && ip link set ext0 up'",
  SubnetAddCommand:
    "export BASE=`echo $SUBNET | cut -d/ -f1`; MAC=`cat -`; ip neighbour replace $BASE lladdr $MAC dev ext0 && bridge fdb replace $MAC dev ext0 self dst $PUBLIC_IP && ip route replace $SUBNET via $BASE dev ext0 onlink",
  SubnetRemoveCommand: "ip route delete $SUBNET dev ext0",
};

describeWithEtcd("extension", () => {
  const net = useEtcdLab("ext", {
    hosts: 3,
    // The lease of the host that is played by hand lies beyond what the others may lease.
    config: { Network: "10.2.0.0/16", SubnetMax: "10.2.63.0", Backend: COMMANDS },
  });
  const routes = (host: Host) => host.run("ip", "route", "show", "dev", "ext0").trim();

  it("carries packets by the administrator's commands", async () => {
    await Promise.all([1, 2].map((number) => net.host(number).daemon.start(...net.flags)));
    for (const value of net.leases().values())
      expect(value).toMatch(/"BackendType":"extension","BackendData":"[\da-f]{2}(:[\da-f]{2}){5}","NodeID"/);
    await expect.poll(() => routes(net.host(1)), { timeout: 10_000 }).toContain("onlink");
    await expect.poll(() => routes(net.host(2)), { timeout: 10_000 }).toContain("onlink");
    const [one, two] = [await addReadyContainer(net.host(1)), await addReadyContainer(net.host(2))];
    await expect.poll(() => ping(one.netns, two.address, 5), { timeout: 10_000 }).toMatchObject({ lost: [] });
    expect(await net.host(1).daemon.status()).toMatchObject({
      isReady: true,
      problems: [],
      peers: [{ path: "external" }],
    });
  });

  it("reaches a flannel host, which gets what PreStartupCommand printed", async () => {
    const host = net.host(3);
    const shell = (command: string, environment: Record<string, string>, input = "") => {
      const words = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
      return host.run("env", ...words, "sh", "-c", `printf %s "$0" | { ${command}; }`, input).trim();
    };
    const subnet = "10.2.99.0/24";
    const data = shell(COMMANDS.PreStartupCommand, {});
    const directory = join(host.runDirectory, "flannel");
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, "subnet.env"),
      "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.99.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
    );
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    shell(COMMANDS.PostStartupCommand, { SUBNET: subnet });
    for (const [key, text] of net.leases()) {
      const { PublicIP, BackendData } = JSON.parse(text) as { PublicIP: string; BackendData: string };
      const environment = { SUBNET: key.replace("-", "/"), PUBLIC_IP: PublicIP };
      shell(COMMANDS.SubnetAddCommand, environment, BackendData);
    }
    const value = { PublicIP: host.address, PublicIPv6: null, BackendType: "extension", BackendData: data };
    net.put("subnets/10.2.99.0-24", JSON.stringify(value));
    const [one, three] = [await addReadyContainer(net.host(1)), await addReadyContainer(host)];
    for (const [from, to] of [
      [one, three],
      [three, one],
    ] as const)
      await expect
        .poll(() => ping(from.netns, to.address, 5), { timeout: 10_000 })
        .toMatchObject({ lost: [] });
  });

  it("removes the subnet of a host that left while no daemon ran", async () => {
    const [first, second] = [net.host(1), net.host(2)];
    await first.daemon.stop();
    await second.daemon.stop();
    const key = [...net.leases()].find(([, value]) => value.includes(second.address))?.[0] ?? "";
    net.delete(`subnets/${key}`);
    await first.daemon.start(...net.flags);
    await expect.poll(() => first.daemon.log, { timeout: 10_000 }).toContain("command=SubnetRemoveCommand");
  });
});
