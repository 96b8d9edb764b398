/** WireGuard for both families: with a device for each, and with one for both. */

import { expect, it } from "vitest";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { FlannelDualWireguard } from "../support/flannel-tunnel.ts";
import { describeInGuest, loadModule, lostBefore } from "../support/guest.ts";
import { type Container, ping, startPing, useEtcdLab } from "../support/hosts.ts";

const NETWORK = {
  Network: "10.2.0.0/16",
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  // The lease of the host that is played by hand lies beyond what the others may lease.
  SubnetMax: "10.2.63.0",
};
const PSK = Buffer.alloc(32, 7).toString("base64");
/** Of the devices; an ICMP echo has 28 or 48 bytes of headers. */
const MTU = 1420;
const HEADER_BYTES = { 4: 28, 6: 48 };

const CASES = [
  { options: { PersistentKeepaliveInterval: 5, PSK }, devices: ["flannel-wg", "flannel-wg-v6"] },
  { options: { Mode: "auto" }, devices: ["flannel-wg"] },
];

for (const { options, devices } of CASES) {
  describeInGuest(`dual stack over WireGuard on ${devices.join(" and ")}`, () => {
    const config = { ...NETWORK, Backend: { Type: "wireguard", ...options } };
    const net = useEtcdLab("wg6", { hosts: 2, config, families: [4, 6] });
    let one: Container;
    let two: Container;

    it("carries packets of both families, up to the MTU of subnet.env", async () => {
      loadModule("wireguard");
      await net.startAll();
      for (const { daemon } of net.lab.hosts)
        await daemon.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "knows its peer");
      [one, two] = net.lab.hosts.map((host) => host.addContainer()) as [Container, Container];
      expect(net.host(1).subnetEnv().mtuBytes).toBe(MTU);
      for (const [family, address] of entriesOf(two.addresses)) {
        const payloadBytes = MTU - HEADER_BYTES[family];
        // Duplicate address detection and the bridge port take a second or two.
        const lost = async () => (await ping(one.netns, address, 2, { payloadBytes })).lost;
        await expect.poll(lost, { timeout: 60_000, message: address }).toEqual([]);
      }
    });

    it("has these devices, in the families' order of ports", () => {
      const shown = net.host(1).netns.exec("wg", ["show", "all", "listen-port"]).trim().split("\n").sort();
      expect(shown).toEqual(devices.map((device, index) => `${device}\t${51_820 + index}`));
      const routes = ["-4", "-6"].map((family) =>
        net.host(1).run("ip", family, "route", "show", "proto", "116"),
      );
      expect(routes[0]).toContain("10.2.0.0/16 dev flannel-wg scope link");
      expect(routes[1]).toContain(`fd00:2::/48 dev ${devices.at(-1)} metric 1024`);
    });

    it("loses no packet of either when the agent restarts", async () => {
      const running = Object.values(two.addresses).map((address) => startPing(one.netns, address));
      const { daemon } = net.host(1);
      await daemon.kill();
      await daemon.start(...net.flags);
      await daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
      const reports = await Promise.all(running.map((each) => each.stop()));
      expect(reports.map(lostBefore)).toEqual([[], []]);
    });
  });
}

describeInGuest("dual stack over WireGuard with a flannel host", () => {
  const config = { ...NETWORK, Backend: { Type: "wireguard", PSK } };
  const net = useEtcdLab("wgmix6", { hosts: 2, config, families: [4, 6] });

  it("reaches containers behind it in both families, and is reached by them", async () => {
    loadModule("wireguard");
    const [ours, theirs] = [net.host(1), net.host(2)];
    await ours.daemon.start(...net.flags);
    new FlannelDualWireguard(net, theirs, 99, PSK).join();
    theirs.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    await ours.daemon.until(
      ({ peers, kernel }) => peers.length === 1 && kernel.isConverged,
      "knows its peer",
    );
    const [one, two] = [ours.addContainer(), theirs.addContainer()];
    for (const [from, to] of [
      [one, two],
      [two, one],
    ] as const) {
      for (const [family, address] of entriesOf(to.addresses)) {
        const payloadBytes = MTU - HEADER_BYTES[family];
        const lost = async () => (await ping(from.netns, address, 2, { payloadBytes })).lost;
        await expect.poll(lost, { timeout: 60_000, message: address }).toEqual([]);
      }
    }
  });
});
