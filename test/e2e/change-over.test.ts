/** A network that moves: hosts go on until they are restarted, one by one, and reach each other all the while. */

import { beforeAll, expect, it } from "vitest";
import { type Container, describeWithEtcd, type Host, ping, useEtcdLab } from "../support/hosts.ts";

const BEFORE = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const MOVED = { Network: "10.5.0.0/16", Backend: { Type: "vxlan" } };
const RENAMED = { Network: "10.5.0.0/16", Backend: { Type: "vxlan", VNI: 7 } };
const HEALTH = ["--healthz-ip=127.0.0.1", "--healthz-port=9191"];
const WAIT = { timeout: 10_000, interval: 50 };

describeWithEtcd("a network that moves", () => {
  const net = useEtcdLab("move", { hosts: 2, config: BEFORE });
  const start = (host: Host) => host.daemon.start(...net.flags, ...HEALTH);
  const tunnelRoutes = (host: Host, device: string): string =>
    host.netns.exec("ip", ["-o", "route", "show", "dev", device]);

  beforeAll(async () => {
    for (const number of [1, 2]) await start(net.host(number));
  });

  function metric(host: Host, name: string): string | undefined {
    const program =
      "fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))";
    const url = "http://127.0.0.1:9191/metrics";
    const text = host.netns.exec(process.execPath, ["--eval", program, url]);
    return new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
  }

  async function expectRefused(host: Host, setting: string): Promise<void> {
    const { problems, isReady } = await host.daemon.until(
      (status) => status.problems.some((problem) => problem.includes(setting)),
      `refuses another ${setting}`,
    );
    expect(isReady).toBe(true);
    expect(host.daemon.log).toContain(problems[0]);
    expect(metric(host, "tulle_config_refused")).toBe("1");
  }

  async function restart(host: Host): Promise<void> {
    await host.daemon.stop();
    await start(host);
    expect(metric(host, "tulle_config_refused")).toBe("0");
  }

  /** The container on the first host after its move; the second one's has an address of before. */
  function box(): Container {
    const [container] = net.host(1).containers;
    if (container === undefined) throw new Error("no container");
    return container;
  }

  /** The address of the host's tunnel device. */
  function baseOf(host: Host): string {
    const text = host.netns.exec("ip", ["-o", "-4", "address", "show", "scope", "global"]);
    return / flannel\.\d+ +inet ([\d.]+)/.exec(text)?.[1] ?? "";
  }

  async function expectConnected(from: Container, to: string): Promise<void> {
    await expect.poll(async () => (await ping(from.netns, to, 3)).lost, WAIT).toEqual([]);
  }

  it("to another range: a host that has moved and one that has not reach each other", async () => {
    const [first, second] = [net.host(1), net.host(2)];
    const stays = second.addContainer();
    net.putConfig(MOVED);
    for (const host of [first, second]) await expectRefused(host, "Network");
    await restart(first);
    const { lease } = await first.daemon.until(({ peers }) => peers.length === 1, "knows who has not moved");
    expect(lease.key).toMatch(/^10\.5\./);
    expect([...net.leases().keys()].filter((key) => key.startsWith("10.2."))).toHaveLength(1);
    await expectConnected(first.addContainer(), stays.address);
    expect(first.daemon.log).not.toContain("lease is rejected");
    expect(second.daemon.log).not.toContain("give one of the two hosts another");
    const addresses = first.netns.exec("ip", ["-o", "-4", "address", "show", "dev", "flannel.1"]);
    expect(addresses).not.toContain("10.2.");
  });

  it("to another range, all hosts: nothing of the old one is left", async () => {
    await restart(net.host(2));
    for (const number of [1, 2]) {
      const host = net.host(number);
      await expect.poll(() => tunnelRoutes(host, "flannel.1"), WAIT).toMatch(/^10\.5\.\S+ via \S+ .*\n$/);
      expect(host.subnetFileText()).toContain("FLANNEL_NETWORK=10.5.0.0/16");
    }
    expect([...net.leases().keys()].filter((key) => key.startsWith("10.2."))).toEqual([]);
    await expectConnected(box(), baseOf(net.host(2)));
  });

  it("to another VNI: the old device goes once all hosts are restarted", { timeout: 60_000 }, async () => {
    net.putConfig(RENAMED);
    for (const number of [1, 2]) await expectRefused(net.host(number), "VNI");
    for (const number of [1, 2]) {
      const host = net.host(number);
      const { key } = (await host.daemon.status())?.lease ?? {};
      await restart(host);
      expect((await host.daemon.status())?.lease.key).toBe(key);
    }
    for (const number of [1, 2]) {
      const host = net.host(number);
      await expect.poll(() => tunnelRoutes(host, "flannel.7"), WAIT).toContain("onlink");
      const devices = () => host.netns.exec("ip", ["-o", "link", "show", "type", "vxlan"]);
      await expect.poll(devices, { timeout: 30_000, interval: 100 }).not.toContain("flannel.1:");
      expect(devices()).toContain("flannel.7:");
    }
    await expectConnected(box(), baseOf(net.host(2)));
  });
});

describeWithEtcd("a network that moves, on hosts with Docker's filter", () => {
  const net = useEtcdLab("filter", { hosts: 2, config: BEFORE });
  const start = (host: Host) => host.daemon.start(...net.flags, "-ip-masq");

  /** As Docker 28 filters what other hosts send to containers without published ports. */
  function filterAsDocker({ netns }: Host): void {
    const commands = [
      [
        "-t",
        "raw",
        "-A",
        "PREROUTING",
        "-d",
        "10.0.0.0/8",
        "!",
        "-i",
        "docker0",
        "-m",
        "addrtype",
        "!",
        "--dst-type",
        "LOCAL",
        "-j",
        "DROP",
      ],
      ["-N", "DOCKER-USER"],
      ["-A", "FORWARD", "-j", "DOCKER-USER"],
      ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
      ["-A", "FORWARD", "!", "-i", "docker0", "-o", "docker0", "-j", "DROP"],
    ];
    for (const command of commands) netns.exec("iptables", command);
  }

  it("carries packets between a host that has moved and one that has not, with their own sources", async () => {
    const [first, second] = [net.host(1), net.host(2)];
    for (const host of [first, second]) filterAsDocker(host);
    for (const host of [first, second]) await start(host);
    const stays = second.addContainer();
    net.putConfig(MOVED);
    await first.daemon.stop();
    await start(first);
    const moved = first.addContainer();
    for (const [from, to] of [
      [moved, stays],
      [stays, moved],
    ] as const) {
      await expect.poll(async () => (await ping(from.netns, to.address, 3)).lost, WAIT).toEqual([]);
    }
    for (const { netns } of [first, second]) {
      const masqueraded = netns.exec("sh", [
        "-c",
        "iptables-save -c -t nat | grep MASQUERADE | grep -vc '^.0:0' || true",
      ]);
      expect(masqueraded.trim()).toBe("0");
    }
    await second.daemon.stop();
    await start(second);
    for (const { netns } of [first, second])
      await expect.poll(() => netns.exec("iptables-save", []), WAIT).not.toContain("10.2.0.0/16");
  });
});
