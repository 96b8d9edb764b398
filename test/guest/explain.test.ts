/** `tulle explain` through tunnels that only the guest's kernel has: IPIP and WireGuard. */

import { beforeAll, describe, expect, it } from "vitest";
import { type Answer, type Fault, itNames, useWays, type Ways } from "../support/explained-ways.ts";
import { describeInGuest, loadModule } from "../support/guest.ts";
import { useEtcdLab } from "../support/hosts.ts";

const NETWORK = "10.2.0.0/16";
const NOWHERE = "--run-dir=/nowhere";

/** What is explained once the daemon's answer is part of it: in the guest it may come too late. */
async function explainWhole(ways: Ways, ...packet: readonly string[]): Promise<Answer> {
  const answers: Answer[] = [];
  const isWhole = (): boolean => {
    answers.unshift(ways.explain(...packet));
    return answers[0]?.steps.every(({ subject }) => subject !== "unknown") ?? false;
  };
  await expect.poll(isWhole, { timeout: 120_000 }).toBe(true);
  const [answer] = answers;
  if (answer === undefined) throw new Error("nothing was explained");
  return answer;
}

/** Of what tulled made: its daemon is stopped. */
const IPIP_FAULTS: Readonly<Record<string, Fault>> = {
  "a route without a gateway": {
    commands: ["ip route replace SUBNET/24 dev flannel.ipip"],
    undo: ["ip route replace SUBNET/24 via 192.168.50.12 dev flannel.ipip onlink"],
    ...{ outcome: "dropped", cause: null },
    seen: /flannel\.ipip needs a gateway to send to, and the route has none/,
  },
  "a rule of this host that drops IPIP": {
    commands: ["iptables -A OUTPUT -p ipencap -j DROP"],
    undo: ["iptables -D OUTPUT -p ipencap -j DROP"],
    ...{ outcome: "dropped", cause: "local-firewall" },
    seen: /IPIP packets: dropped by iptables filter, chain OUTPUT/,
  },
  "an MTU that is too small behind the tunnel": {
    commands: ["ip link set eth0 mtu 1400"],
    undo: ["ip link set eth0 mtu 1500"],
    ...{ outcome: "dropped", cause: "large-packets-lost" },
    seen: /but only up to 1380 bytes: larger ones, up to 1480, do not fit behind the tunnel/,
  },
};

describeInGuest("explaining a way over IPIP", () => {
  const net = useEtcdLab("ipip", { hosts: 2, config: { Network: NETWORK, Backend: { Type: "ipip" } } });
  beforeAll(() => loadModule("ipip"));
  const ways = useWays(net);

  it("follows a packet from a container to the other host", async () => {
    const { steps, end } = await explainWhole(ways, "tcp", "80");
    expect(end, JSON.stringify(steps, null, 1)).toMatchObject({
      outcome: "leaves",
      cause: null,
      remedy: null,
    });
    expect(end.text).toMatch(/^the packet leaves by eth0 as IPIP packets for 192\.168\.50\.12, peer /);
    expect(steps.filter(({ state }) => state !== "ok")).toEqual([]);
    expect(steps.map(({ subject, text }) => `${subject}: ${text}`)).toContain(
      "tunnel: IPIP packets to 192.168.50.12, 20 bytes larger",
    );
  });

  describe("names, without a daemon,", () => {
    beforeAll(async () => {
      await net.host(1).daemon.stop();
    });
    itNames(ways, IPIP_FAULTS, NOWHERE);
  });
});

const WIREGUARD_FAULTS: Readonly<Record<string, Fault>> = {
  "a peer that may not have the destination": {
    commands: ["wg set flannel-wg peer $(wg show flannel-wg peers) allowed-ips 10.99.0.0/24"],
    undo: ["wg set flannel-wg peer $(wg show flannel-wg peers) allowed-ips SUBNET/24"],
    ...{ outcome: "dropped", cause: null },
    seen: /flannel-wg has no peer that may have 10\.2\./,
  },
  "a peer without an address": {
    commands: [
      "wg show flannel-wg peers > /run/peer",
      "wg set flannel-wg peer $(cat /run/peer) remove",
      "wg set flannel-wg peer $(cat /run/peer) allowed-ips SUBNET/24",
    ],
    undo: ["wg set flannel-wg peer $(cat /run/peer) endpoint 192.168.50.12:51820"],
    ...{ outcome: "dropped", cause: null },
    seen: /flannel-wg does not know where its peer .*= is/,
  },
  "an MTU that is too small behind the tunnel": {
    commands: ["ip link set eth0 mtu 1400"],
    undo: ["ip link set eth0 mtu 1500"],
    ...{ outcome: "dropped", cause: "large-packets-lost" },
    seen: /but only up to 1340 bytes: larger ones, up to 1420, do not fit behind the tunnel/,
  },
};

describeInGuest("explaining a way over WireGuard", () => {
  const net = useEtcdLab("wg", { hosts: 2, config: { Network: NETWORK, Backend: { Type: "wireguard" } } });
  beforeAll(() => loadModule("wireguard"));
  const ways = useWays(net);

  it("follows a packet from a container to the other host", async () => {
    const { steps, end } = await explainWhole(ways, "udp", "53");
    expect(end, JSON.stringify(steps, null, 1)).toMatchObject({
      outcome: "leaves",
      cause: null,
      remedy: null,
    });
    expect(end.text).toMatch(/^the packet leaves by eth0 as WireGuard packets for 192\.168\.50\.12, peer /);
    expect(steps.filter(({ state }) => state !== "ok")).toEqual([]);
    const way = steps.map(({ subject, text }) => `${subject}: ${text.replace(/\S+= at/, "KEY at")}`);
    expect(way).toContain(`tunnel: ${ways.subnet}/24 is of the peer KEY at 192.168.50.12`);
    expect(way).toContain("tunnel: WireGuard packets to 192.168.50.12, UDP port 51820, 60 bytes larger");
  });

  describe("names, without a daemon,", () => {
    beforeAll(async () => {
      await net.host(1).daemon.stop();
    });
    itNames(ways, WIREGUARD_FAULTS, NOWHERE);
  });
});
