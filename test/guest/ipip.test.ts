/** Hosts over IPIP with real packets: ours, and one that was set up by hand as flanneld does it. */

import { beforeAll, expect, it } from "vitest";
import { dataPathOf } from "../support/data-path.ts";
import { FlannelIpip } from "../support/flannel-tunnel.ts";
import { describeInGuest, loadModule, lostBefore } from "../support/guest.ts";
import { type Container, type Host, ping, startPing, useEtcdLab } from "../support/hosts.ts";

const NETWORK = { Network: "10.2.0.0/16", Backend: { Type: "ipip" } };
/** Of flannel.ipip, in bytes; an ICMP echo has 28 bytes of headers. */
const MTU = 1480;

/** Packets that a device has received. */
function packetsOf(host: Host, device: string): number {
  const [link] = host.netns.ipJson(["-s", "link", "show", device]) as unknown as [
    { readonly stats64: { readonly rx: { readonly packets: number } } },
  ];
  return link.stats64.rx.packets;
}

describeInGuest("a network over IPIP", () => {
  const net = useEtcdLab("ipip", { hosts: 3, config: NETWORK });
  /** Without probes, so that packets can be counted. */
  const start = ({ daemon }: Host): Promise<unknown> => daemon.start(...net.flags, "--probe-rate=0");
  let flannel: FlannelIpip;
  let boxes: [Container, Container, Container];

  beforeAll(async () => {
    loadModule("ipip");
    await start(net.host(1));
    flannel = new FlannelIpip(net, net.host(3), "10.2.99.0");
    flannel.join();
    await start(net.host(2));
    flannel.learnPeers();
    boxes = net.lab.hosts.map((host) => host.addContainer()) as [Container, Container, Container];
    for (const number of [1, 2]) {
      const isComplete = ({
        peers,
        kernel,
      }: {
        peers: readonly object[];
        kernel: { isConverged: boolean };
      }) => peers.length === 2 && kernel.isConverged;
      await net.host(number).daemon.until(isComplete, "knows both peers");
    }
  });

  it("carries full packets between all containers, ours and flannel's", async () => {
    for (const from of boxes) {
      for (const to of boxes.filter((box) => box !== from)) {
        const report = await ping(from.netns, to.address, 3, { payloadBytes: MTU - 28 });
        expect({ from: from.name, to: to.name, lost: report.lost }).toMatchObject({ lost: [] });
      }
    }
  });

  it("has flannel's device, address, routes and lease", () => {
    const host = net.host(1);
    const [link] = host.netns.ipJson(["-d", "link", "show", "flannel.ipip"]) as [Record<string, unknown>];
    expect(link).toMatchObject({
      mtu: MTU,
      linkinfo: { info_kind: "ipip", info_data: { remote: "any", local: host.address, pmtudisc: false } },
    });
    const own = host.subnetEnv().subnets[4]?.address.toString().replace(/1$/, "0");
    expect(host.run("ip", "-4", "-o", "address", "show", "flannel.ipip")).toContain(`${own}/32`);
    const routes = host.run("ip", "route", "show", "dev", "flannel.ipip");
    expect(routes).toContain(`10.2.99.0/24 via ${net.host(3).address} proto 116 onlink`);
    const leases = [...net.leases()].filter(([key]) => key === `${own}-24`);
    expect(JSON.parse(leases[0]?.[1] ?? "{}")).toMatchObject({ PublicIP: host.address, BackendType: "ipip" });
    expect(leases[0]?.[1]).not.toContain("BackendData");
  });

  it("leaves the module's own device alone", () => {
    const [tunl0] = net.host(1).netns.ipJson(["-d", "link", "show", "tunl0"]) as [Record<string, unknown>];
    expect(tunl0).toMatchObject({
      operstate: "DOWN",
      linkinfo: { info_data: { local: "any", remote: "any" } },
    });
    expect(net.host(1).run("ip", "address", "show", "tunl0")).not.toContain("inet");
  });

  it("loses no packet and writes nothing when the agent restarts", async () => {
    const { netns, daemon } = net.host(1);
    const before = dataPathOf(netns, "flannel.ipip");
    const running = startPing(boxes[0].netns, boxes[1].address);
    expect(await daemon.stop()).toBe(0);
    await start(net.host(1));
    await daemon.kill();
    await start(net.host(1));
    const report = await running.stop();
    expect(lostBefore(report)).toEqual([]);
    expect(report.sent).toBeGreaterThan(30);
    expect(dataPathOf(netns, "flannel.ipip")).toBe(before);
  });

  it("drops tunnel packets that a container forges", async () => {
    const [from, to] = boxes;
    const [sender, victim] = [net.host(1), net.host(2)];
    from.netns.ip(
      `link add forged type ipip local ${from.address} remote ${victim.address}`,
      "link set forged up",
      `route add ${to.address}/32 dev forged src ${from.address}`,
    );
    const arrivals = async (): Promise<number> => {
      const before = packetsOf(victim, "flannel.ipip");
      await ping(from.netns, to.address, 5, { isExact: true });
      return packetsOf(victim, "flannel.ipip") - before;
    };
    expect(await arrivals()).toBe(0);
    // Without the rules the same packets arrive.
    for (const { daemon, netns } of [sender, victim]) {
      await daemon.kill();
      netns.exec("iptables", ["-t", "mangle", "-F", "FLANNEL-TUN-FWD"]);
      netns.exec("iptables", ["-t", "raw", "-F", "FLANNEL-TUN-IN"]);
    }
    expect(await arrivals()).toBe(5);
    from.netns.ip("link del forged");
    for (const host of [sender, victim]) await start(host);
  });

  it("makes a device with another remote address again, and leaves a device of another type alone", async () => {
    const { netns, daemon } = net.host(1);
    await daemon.stop();
    netns.ip(
      "link del flannel.ipip",
      `link add flannel.ipip type ipip local ${net.host(1).address} remote 192.0.2.9`,
    );
    await daemon.start(...net.flags);
    expect(netns.exec("ip", ["-d", "link", "show", "flannel.ipip"])).toContain("remote any");
    expect((await ping(boxes[0].netns, boxes[1].address, 3)).lost).toEqual([]);
    await daemon.stop();
    netns.ip("link del flannel.ipip", "link add flannel.ipip type bridge");
    daemon.spawn(...net.flags);
    await daemon.until(
      ({ problems }) => problems.some((text) => /flannel\.ipip.*of type bridge exists/.test(text)),
      "names the bridge",
    );
    expect(netns.exec("ip", ["-d", "link", "show", "flannel.ipip"])).toContain("bridge");
    netns.ip("link del flannel.ipip");
    await daemon.until(({ isReady }) => isReady, "is ready again");
    expect((await ping(boxes[0].netns, boxes[2].address, 3)).lost).toEqual([]);
  });
});
