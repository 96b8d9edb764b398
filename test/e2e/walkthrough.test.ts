/**
 * One network for three hosts, step by step as an administrator sets flannel up: the same flags, the same store
 * layout, and afterwards the same device, routes and files on every host.
 */

import { beforeAll, expect, it } from "vitest";
import { type Container, describeWithEtcd, ping, useEtcdLab } from "../support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", SubnetLen: 24, Backend: { Type: "vxlan" } };
/** What is left for a ping's payload in a packet of 1450 bytes: 20 of IPv4 and 8 of ICMP are taken. */
const LARGEST_PAYLOAD = 1422;

describeWithEtcd("the walkthrough: one network for three hosts", () => {
  const net = useEtcdLab("walk", { hosts: 3, config: CONFIG, prefix: "/docker-test/network" });

  beforeAll(async () => {
    expect(net.flags).toEqual([
      "-etcd-endpoints=http://192.168.50.11:2379",
      "-iface=eth0",
      "-etcd-prefix=/docker-test/network",
    ]);
    await net.startAll();
    for (const host of net.lab.hosts) host.addContainer();
  });

  /** `10.2.54.0` for every host, in the hosts' order. */
  const bases = () =>
    net.lab.hosts.map((host) => `${host.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, ".0"));

  it("gives each host a /24 of its own, and its lease in flannel's form", () => {
    expect(new Set(bases()).size).toBe(3);
    const leases = net.leases();
    expect([...leases.keys()].sort()).toEqual(
      bases()
        .map((base) => `${base}-24`)
        .sort(),
    );
    for (const [index, host] of net.lab.hosts.entries()) {
      const mac = `${host.netns.ipJson(["link", "show", "flannel.1"])[0]?.address}`;
      expect(leases.get(`${bases()[index]}-24`)).toContain(
        `{"PublicIP":"${host.address}","PublicIPv6":null,"BackendType":"vxlan",` +
          `"BackendData":{"VNI":1,"VtepMAC":"${mac}"}`,
      );
    }
  });

  it("makes flannel.1 with MTU 1450 and the subnet's base as its address", () => {
    for (const [index, host] of net.lab.hosts.entries()) {
      const [link] = host.netns.ipJson(["-d", "link", "show", "flannel.1"]);
      expect(link).toMatchObject({
        mtu: 1450,
        operstate: expect.stringMatching(/UP|UNKNOWN/),
        flags: expect.arrayContaining(["UP", "LOWER_UP"]),
        linkinfo: {
          info_kind: "vxlan",
          info_data: { id: 1, local: host.address, link: "eth0", port: 8472, learning: false },
        },
      });
      expect(host.run("ip", "-o", "-4", "address", "show", "dev", "flannel.1")).toContain(
        `inet ${bases()[index]}/32 scope global flannel.1`,
      );
    }
  });

  it("has exactly one onlink route for every other host", () => {
    for (const [index, host] of net.lab.hosts.entries()) {
      const routes = host.netns.ipJson(["route", "show", "dev", "flannel.1"]);
      const others = bases().filter((base) => base !== bases()[index]);
      expect(routes.map(({ dst, gateway, flags }) => ({ dst, gateway, flags }))).toEqual(
        others
          .map((base) => ({ dst: `${base}/24`, gateway: base, flags: ["onlink"] }))
          .sort((left, right) => byAddress(left.gateway) - byAddress(right.gateway)),
      );
    }
  });

  it("writes subnet.env line by line as flannel does", () => {
    for (const [index, host] of net.lab.hosts.entries()) {
      expect(host.subnetFileText().split("\n")).toEqual([
        "FLANNEL_NETWORK=10.2.0.0/16",
        `FLANNEL_SUBNET=${bases()[index]?.replace(/0$/, "1")}/24`,
        "FLANNEL_MTU=1450",
        "FLANNEL_IPMASQ=false",
        "",
      ]);
    }
  });

  it("leaves room for docker0 with the subnet's first address", () => {
    for (const [index, host] of net.lab.hosts.entries()) {
      const base = bases()[index];
      const gateway = base?.replace(/0$/, "1");
      expect(host.run("ip", "route")).toContain(
        `${base}/24 dev docker0 proto kernel scope link src ${gateway}`,
      );
      const [box] = host.containers;
      expect(box?.address).toBe(base?.replace(/0$/, "2"));
      expect(box?.netns.exec("ip", ["route", "show", "default"])).toContain(`via ${gateway}`);
    }
  });

  it("lets every container reach every other, with packets of the full MTU and no larger", async () => {
    const boxes = net.lab.hosts.flatMap((host) => host.containers);
    for (const [from, to] of pairs(boxes)) {
      expect(await ping(from.netns, to.address, 3)).toMatchObject({ sent: 3, lost: [] });
      expect(
        await ping(from.netns, to.address, 2, { payloadBytes: LARGEST_PAYLOAD }),
        `from ${from.name} to ${to.name}`,
      ).toMatchObject({ lost: [] });
      expect(await ping(from.netns, to.address, 1, { payloadBytes: LARGEST_PAYLOAD + 1 })).toMatchObject({
        lost: [1],
      });
    }
  });

  it("reaches other hosts' containers from a host itself", async () => {
    const [box] = net.host(3).containers;
    expect(await ping(net.host(2).netns, `${box?.address}`, 3)).toMatchObject({ lost: [] });
  });
});

function byAddress(address: string): number {
  return Number(address.split(".")[2]);
}

function pairs(boxes: readonly Container[]): (readonly [Container, Container])[] {
  return boxes.flatMap((from) => boxes.filter((to) => to !== from).map((to) => [from, to] as const));
}
