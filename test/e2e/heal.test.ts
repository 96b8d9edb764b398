/** Whatever an administrator, a script or another program damages is put right, and nothing that is theirs is touched. */

import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { dataPathOf } from "../support/data-path.ts";
import { describeWithEtcd, type Host, ping, startPing, useEtcdLab } from "../support/hosts.ts";

/** Beyond SubnetMax is what others put into the network. */
const CONFIG = { Network: "10.2.0.0/16", SubnetMax: "10.2.199.0", Backend: { Type: "vxlan" } };

/** Commands of ip(8) and bridge(8) on host1; PEER is host2's subnet base, MAC its tunnel's address. */
const DAMAGES: Readonly<Record<string, readonly string[]>> = {
  "the device is deleted": ["ip link delete flannel.1"],
  "the device is set down": ["ip link set flannel.1 down"],
  "the device goes down and up": ["ip link set flannel.1 down", "ip link set flannel.1 up"],
  "the device's MTU is changed": ["ip link set flannel.1 mtu 1280"],
  "the device's hardware address is changed": ["ip link set flannel.1 address 02:00:00:00:00:99"],
  "another device takes its place": [
    "ip link delete flannel.1",
    "ip link add flannel.1 type vxlan id 7 dstport 9999 nolearning",
  ],
  "its address is flushed": ["ip address flush dev flannel.1"],
  "it gets another address of the network": ["ip address add 10.2.255.9/32 dev flannel.1"],
  "a route is deleted": ["ip route delete PEER/24 dev flannel.1"],
  "a route is replaced by a wrong one": ["ip route replace PEER/24 via 10.2.0.99 dev flannel.1 onlink"],
  "all routes are flushed": ["ip route flush dev flannel.1"],
  "a neighbour is deleted": ["ip neighbour delete PEER dev flannel.1"],
  "a neighbour gets a wrong address": [
    "ip neighbour replace PEER lladdr 02:00:00:00:00:77 dev flannel.1 nud permanent",
  ],
  "all neighbours are flushed": ["ip neighbour flush dev flannel.1 nud permanent"],
  "a forwarding entry is deleted": ["bridge fdb delete MAC dev flannel.1 dst 192.168.50.12"],
  "a forwarding entry leads elsewhere": [
    "bridge fdb replace MAC dev flannel.1 dst 192.168.50.99 self permanent",
  ],
  "everything goes at once": [
    "ip route flush dev flannel.1",
    "ip neighbour flush dev flannel.1 nud permanent",
    "ip address flush dev flannel.1",
    "ip link delete flannel.1",
  ],
};

describeWithEtcd("healing", () => {
  const net = useEtcdLab("heal", { hosts: 3, config: CONFIG });
  let before: string;
  let foreign: string;

  beforeAll(async () => {
    await net.startAll();
    for (const host of net.lab.hosts) host.addContainer();
    const host = net.host(1);
    await host.daemon.until(
      ({ peers, kernel }) => peers.length === 2 && kernel.isConverged,
      "knows both peers",
    );
    host.netns.ip(
      "route add 10.99.0.0/24 via 192.168.50.77 dev eth0",
      "route add 10.2.200.0/24 via 192.168.50.78 dev eth0 metric 50",
      "neighbour add 192.168.50.77 lladdr 02:00:00:00:00:55 dev eth0 nud permanent",
    );
    before = dataPathOf(host.netns);
    foreign = foreignState(host);
  });

  afterEach(() => {
    expect(foreignState(net.host(1))).toBe(foreign);
  });

  describe.each(Object.keys(DAMAGES))("when %s", (damage) => {
    it("is as it was, and packets flow again", async () => {
      const [host, peer] = [net.host(1), net.host(2)];
      const [from, to] = [host.containers[0], peer.containers[0]];
      if (from === undefined || to === undefined) throw new Error("no containers");
      const running = startPing(from.netns, to.address);
      damageAll(
        host,
        (DAMAGES[damage] ?? []).map((command) => filledIn(command, peer)),
      );
      await expect.poll(() => dataPathOf(host.netns), { timeout: 10_000, interval: 20 }).toBe(before);
      expect((await ping(from.netns, to.address, 5)).lost).toEqual([]);
      const { sent, lost } = await running.stop();
      expect(lost.length).toBeLessThan(sent);
      const status = await host.daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
      expect(status.kernel).toMatchObject({ failures: [], conflicts: [] });
    });
  });
});

/** The agent repairs within milliseconds: several blows fall while it is stopped, or it would parry them one by one. */
function damageAll(host: Host, commands: readonly string[]): void {
  const { pid } = host.daemon;
  if (pid === null) throw new Error("the daemon does not run");
  if (commands.length > 1) process.kill(pid, "SIGSTOP");
  try {
    for (const command of commands) host.netns.exec("sh", ["-c", command]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

function filledIn(command: string, peer: Host): string {
  const base = `${peer.subnetEnv().subnets[4]?.address}`.replace(/\.1$/, ".0");
  const mac = `${peer.netns.ipJson(["link", "show", "flannel.1"])[0]?.address}`;
  return command.replace("PEER", base).replace("MAC", mac);
}

/** What is not ours: routes and neighbours of the LAN's interface and of docker0. */
function foreignState({ netns }: Host): string {
  const routes = netns
    .exec("ip", ["route"])
    .split("\n")
    .filter((line) => !line.includes("flannel.1"));
  return [...routes, netns.exec("ip", ["neighbour", "show", "dev", "eth0", "nud", "permanent"])].join("\n");
}
