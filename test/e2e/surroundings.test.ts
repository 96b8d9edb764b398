import { expect, it } from "vitest";
import { describeWithEtcd, type Host, TULLE, useEtcdLab } from "../support/hosts.ts";

const lease = (address: string, mac: string) =>
  JSON.stringify({
    PublicIP: address,
    PublicIPv6: null,
    BackendType: "vxlan",
    BackendData: { VNI: 1, VtepMAC: mac },
  });

/** Runs `tulle` with the flags of the host's daemon; a command that reports problems exits with 1. */
function tulle(host: Host, flags: readonly string[], ...args: readonly string[]): string {
  const command = [...TULLE, ...args, flags[0] ?? ""];
  return host.run("sh", "-c", '"$@" || true', "sh", ...command, `--state-dir=${host.stateDirectory}`);
}

describeWithEtcd("a network around a bridge of one host", () => {
  const net = useEtcdLab("around", {
    hosts: 1,
    // Subnets 172.16.1.0 to 172.16.3.0, of which the bridge covers two.
    config: { Network: "172.16.0.0/22", Backend: { Type: "vxlan" } },
  });

  it("gives that host a subnet beside the bridge", async () => {
    const host = net.host(1);
    host.netns.ip("link add br-lan type bridge");
    host.netns.ip("address add 172.16.2.1/23 dev br-lan");
    host.netns.ip("link set br-lan up");
    await host.daemon.start(...net.flags);
    expect(`${host.subnetEnv().subnets[4]?.address}`).toBe("172.16.1.1");
  });
});

describeWithEtcd("a lease over what a host reaches without the network", () => {
  const net = useEtcdLab("over", {
    hosts: 2,
    // What the test leases to others lies beyond what the hosts may lease.
    config: { Network: "10.2.0.0/16", SubnetMax: "10.2.63.0", Backend: { Type: "vxlan" } },
  });
  const KEY = "10.2.77.0-24";
  const routes = (host: Host) => host.run("ip", "route", "show", "10.2.77.0/24", "dev", "flannel.1");

  it("is programmed, and no more once the host has a bridge there, while others go on using it", async () => {
    await net.startAll();
    const [host, other] = [net.host(1), net.host(2)];
    net.put(`subnets/${KEY}`, lease("192.168.50.77", "02:00:00:00:00:77"));
    await expect.poll(() => routes(host), { timeout: 10_000 }).toContain("10.2.77.0/24");
    host.netns.ip("link add br-lan type bridge");
    host.netns.ip("address add 10.2.77.129/25 dev br-lan");
    host.netns.ip("link set br-lan up");
    await expect.poll(() => routes(host), { timeout: 10_000 }).toBe("");
    const { refused, isReady } = await host.daemon.until(({ refused: all }) => all.length > 0, "rejects it");
    expect(isReady).toBe(true);
    expect(refused[0]?.reason).toMatch(
      /lease 10\.2\.77\.0-24: its subnet overlaps 10\.2\.77\.12[89].*\(br-lan\)/,
    );
    expect(refused[0]?.reason).not.toMatch(/ip route del/);
    expect(tulle(host, net.flags, "lease", "check")).toContain("(br-lan)");
    expect(tulle(host, net.flags, "doctor")).toContain("(br-lan)");
    expect(routes(other)).toContain("10.2.77.0/24");
  });

  it("is programmed again when the bridge is gone, and given up for a route that is no part of it, too", async () => {
    const host = net.host(1);
    host.netns.ip("link delete br-lan");
    await expect.poll(() => routes(host), { timeout: 10_000 }).toContain("10.2.77.0/24");
    host.netns.ip("route add 10.2.77.64/26 via 192.168.50.12", "route add 10.2.76.0/22 via 192.168.50.12");
    await expect.poll(() => routes(host), { timeout: 10_000 }).toBe("");
    host.netns.ip("route delete 10.2.76.0/22");
    await expect.poll(() => routes(host), { timeout: 10_000 }).toContain("10.2.77.0/24");
  });

  it("is named on its own host", async () => {
    const host = net.host(2);
    const own = `${host.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, "");
    host.netns.ip("link add br-lan type bridge");
    host.netns.ip(`address add ${own}.200/22 dev br-lan`);
    host.netns.ip("link set br-lan up");
    const isNamed = (texts: readonly string[]) => texts.some((text) => text.includes("(br-lan)"));
    await host.daemon.until(({ problems }) => isNamed(problems), "names the bridge");
    expect(tulle(host, net.flags, "lease", "check")).toContain(`our lease ${own}.0-24 overlaps`);
    expect(tulle(host, net.flags, "doctor")).toContain(`our lease ${own}.0-24 overlaps`);
  });

  it("is none over the gateway of this host's own containers, whatever device has it", async () => {
    const host = net.host(1);
    const gateway = `${host.subnetEnv().subnets[4]?.address}`;
    host.netns.exec("ip", ["tuntap", "add", "tap0", "mode", "tap"]);
    host.netns.ip(`address add ${gateway}/24 dev tap0`, "link set tap0 up");
    await host.daemon.kill();
    await host.daemon.start(...net.flags);
    const status = await host.daemon.until(({ isReady }) => isReady, "is ready");
    expect(status.problems.join()).not.toContain("tap0");
    expect(`${host.subnetEnv().subnets[4]?.address}`).toBe(gateway);
  });

  it("has an address of this host's containers, and is rejected by name", async () => {
    const host = net.host(1);
    const gateway = `${host.subnetEnv().subnets[4]?.address}`;
    net.put("subnets/10.2.78.0-24", lease(gateway, "02:00:00:00:00:78"));
    const isNamed = (all: readonly { readonly reason: string }[]) =>
      all.some(({ reason }) => reason.includes(`${gateway} lies in`));
    await host.daemon.until(({ refused }) => isNamed(refused), "rejects it");
    await net.host(2).daemon.until(({ refused }) => isNamed(refused), "rejects it");
  });
});
