/** Networks with the backend udp: packets between containers, what flannel's hosts expect in store and kernel, restarts. */

import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import type { PathTraffic } from "../../backends/backend.ts";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import {
  type Container,
  describeWithEtcd,
  type Host,
  ping,
  startPing,
  TULLE,
  useEtcdLab,
} from "../support/hosts.ts";
import { answerEchoes } from "../support/raw-peer.ts";
import { holdDevice } from "../support/udp-hosts.ts";

const BOTH = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "udp" },
};
/** IP and ICMP. */
const HEADER_BYTES = { 4: 28, 6: 48 };
const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "udp" } };

describeWithEtcd("a network with the backend udp", () => {
  const net = useEtcdLab("udp", { hosts: 2, config: CONFIG });
  let one: Container;
  let two: Container;

  const reach = async (from: Container, to: Container) => (await ping(from.netns, to.address, 20)).lost;

  it("carries packets both ways, also those as large as subnet.env says", async () => {
    await net.startAll("-healthz-port=8471");
    one = net.host(1).addContainer();
    two = net.host(2).addContainer();
    await expect.poll(() => reach(one, two), { timeout: 10_000 }).toEqual([]);
    expect(await reach(two, one)).toEqual([]);
    expect(net.host(1).subnetEnv().mtuBytes).toBe(1472);
    expect(await ping(one.netns, two.address, 5, { payloadBytes: 1472 - 28 })).toMatchObject({ lost: [] });
  });

  it("has flannel's lease, device, address and route", () => {
    const host = net.host(1);
    const base = host.subnetEnv().subnets[4]?.address.plus(-1);
    const [value = ""] = [...net.leases()].flatMap(([key, text]) => (key === `${base}-24` ? [text] : []));
    expect(JSON.parse(value)).toMatchObject({ PublicIP: host.address, PublicIPv6: null });
    expect(JSON.parse(value)).not.toHaveProperty("BackendType");
    expect(JSON.parse(value)).not.toHaveProperty("BackendData");
    expect(host.netns.ipJson(["-d", "link", "show", "dev", "flannel0"])).toMatchObject([
      { mtu: 1472, linkinfo: { info_kind: "tun", info_data: { type: "tun" } } },
    ]);
    expect(host.netns.exec("ip", ["-o", "-4", "address", "show", "dev", "flannel0"])).toContain(`${base}/32`);
    expect(host.netns.exec("ip", ["route", "show", "dev", "flannel0"])).toMatch(/^10\.2\.0\.0\/16 /);
    expect(host.netns.exec("ip", ["route", "show", "dev", "flannel0"]).trim().split("\n")).toHaveLength(1);
  });

  it("shows what it carried and dropped in status and metrics", async () => {
    const host = net.host(1);
    const tulle = (...args: string[]) => host.run(...TULLE, ...args);
    const traffic = () => JSON.parse(tulle("status", "--json")).traffic as PathTraffic;
    const before = traffic();
    await ping(one.netns, two.address, 20);
    const unknown =
      host
        .subnetEnv()
        .subnets[4]?.address.toString()
        .replace(/\.\d+\.\d+$/, ".255.9") ?? "";
    await ping(one.netns, unknown, 1);
    await expect.poll(() => traffic().dropped.unreachable).toBeGreaterThan(before.dropped.unreachable ?? 0);
    const { sent, received, icmpErrors } = traffic();
    for (const [now, then] of [[sent, before.sent] as const, [received, before.received] as const]) {
      expect(now.packets).toBeGreaterThanOrEqual(then.packets + 20);
      expect(now.bytes).toBeGreaterThan(then.bytes);
    }
    expect(icmpErrors.unreachable).toBeGreaterThan(before.icmpErrors.unreachable ?? 0);
    expect(tulle("status")).toMatch(
      /^traffic +sent \d+ packets, \d+ B; received .* dropped unreachable \d+/m,
    );
    const metrics = host.run("curl", "-s", "http://127.0.0.1:8471/metrics");
    expect(metrics).toMatch(/^tulle_path_packets_total\{direction="sent"\} [1-9]\d*$/m);
    expect(metrics).toMatch(/^tulle_path_dropped_packets_total\{reason="unreachable"\} [1-9]\d*$/m);
  });

  it("makes the device again when somebody deletes it", async () => {
    net.host(1).netns.ip("link delete flannel0");
    await expect.poll(() => reach(one, two), { timeout: 15_000 }).toEqual([]);
  });

  it("loses no packet while addresses of the interface come and go", async () => {
    const { netns } = net.host(1);
    const pings = startPing(two.netns, one.address);
    for (const address of ["192.168.50.100/32", "10.77.0.1/24"]) {
      for (const change of ["add", "delete"]) {
        netns.ip(`address ${change} ${address} dev eth0`);
        // The host is examined 100 ms later.
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
    expect((await pings.stop()).lost).toEqual([]);
  });

  it("keeps device, address, route and connections over a restart", async () => {
    const host: Host = net.host(1);
    const index = () => host.netns.ipJson(["link", "show", "dev", "flannel0"])[0]?.ifindex;
    const before = index();
    const pings = startPing(two.netns, one.address);
    await host.daemon.stop();
    expect(index()).toBe(before);
    await host.daemon.start(...net.flags);
    await expect.poll(() => reach(one, two), { timeout: 10_000 }).toEqual([]);
    const { sent, lost } = await pings.stop();
    expect(lost.length).toBeLessThan(sent);
    expect(index()).toBe(before);
  });

  it("reports a device that another program holds, and carries packets when it is free", async () => {
    const host = net.host(2);
    await host.daemon.stop();
    const release = holdDevice(host.netns);
    host.daemon.spawn(...net.flags);
    const status = () => {
      const [program = "", ...args] = host.enter(...TULLE, "status");
      return spawnSync(program, args, { encoding: "utf8" }).stdout;
    };
    await expect.poll(status, { timeout: 15_000 }).toContain("holds flannel0; stop it");
    release();
    await expect.poll(() => reach(one, two), { timeout: 10_000 }).toEqual([]);
  });

  it("leaves nothing behind after a cleanup", async () => {
    const host = net.host(2);
    await host.daemon.stop();
    const state = `--state-dir=${host.stateDirectory}`;
    host.run(...TULLE, "cleanup", ...net.flags, state);
    expect(host.netns.ipJson(["link", "show", "type", "tun"])).toEqual([]);
    expect(host.netns.exec("ip", ["route", "show", "10.2.0.0/16"])).toBe("");
  });
});

describeWithEtcd("a network of both families with the backend udp", () => {
  const net = useEtcdLab("udp6", { hosts: 2, config: BOTH, families: [4, 6] });

  it("carries packets of both on one device", async () => {
    await net.startAll();
    const [one, two] = [net.host(1).addContainer(), net.host(2).addContainer()];
    expect(net.host(1).subnetEnv().mtuBytes).toBe(1452);
    for (const [family, address] of entriesOf(two.addresses)) {
      const payloadBytes = 1452 - HEADER_BYTES[family];
      const lost = async () => (await ping(one.netns, address, 3, { payloadBytes })).lost;
      await expect.poll(lost, { timeout: 15_000, message: `IPv${family}` }).toEqual([]);
    }
    expect(net.host(1).netns.exec("ip", ["-6", "route", "show", "dev", "flannel0"])).toMatch(
      /^fd00:2::\/48 /m,
    );
  });
});

describeWithEtcd("a network with the backend udp and a flannel host", () => {
  const net = useEtcdLab("udpmix", { hosts: 2, config: { ...CONFIG, SubnetMax: "10.2.63.0" } });

  it("sends it one bare packet in each datagram, and takes its answers", async () => {
    const [ours, theirs] = [net.host(1), net.host(2)];
    await ours.daemon.start(...net.flags);
    net.put("subnets/10.2.99.0-24", `{"PublicIP":"${theirs.address}","PublicIPv6":null}`);
    await ours.daemon.until(({ peers }) => peers.length === 1, "knows its peer");
    const box = ours.addContainer();
    const flannel = await answerEchoes(theirs.netns);
    try {
      await expect
        .poll(async () => (await ping(box.netns, "10.2.99.2", 3)).lost, { timeout: 10_000 })
        .toEqual([]);
      for (const packet of flannel.packets) {
        expect([packet[0], packet.readUInt16BE(2)]).toEqual([0x45, packet.length]);
      }
      // Others are probes of the path, to the first address of the subnet.
      const targets = flannel.packets.map((packet) => [...packet.subarray(16, 20)].join("."));
      expect(targets.filter((target) => target === "10.2.99.2").length).toBeGreaterThanOrEqual(3);
    } finally {
      flannel.stop();
    }
  });
});
