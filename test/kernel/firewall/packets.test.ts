/** What the rules do to real packets: forged tunnels, Docker's drops, strangers, connection tracking. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { JointPlans } from "../../../backends/firewall/joint-plans.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { FirewallInput, TunnelInput } from "../../../backends/firewall/plan-input.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { canPing } from "../../support/can-ping.ts";
import { FIREWALL_INPUT, tunnelInput } from "../../support/firewall-input.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const PORT = 8472;
const HOST = "192.168.50.1";
const PEER = "192.168.50.2";
/** Our container and the peer's. */
const CONTAINER = "10.2.54.2";
const REMOTE = "10.2.55.1";

/** No packet but ours, and none dropped for its source address. */
const QUIET_SYSCTLS = [
  "-qw",
  "net.ipv6.conf.default.disable_ipv6=1",
  "net.ipv4.conf.all.rp_filter=0",
  "net.ipv4.conf.default.rp_filter=0",
];

const INPUT: FirewallInput = {
  ...FIREWALL_INPUT,
  tunnels: { 4: tunnelInput({ port: PORT, address: Address.parse(HOST) }) },
};

function inputWith(tunnel: Partial<TunnelInput>): FirewallInput {
  const usual = INPUT.tunnels[4] as TunnelInput;
  return { ...INPUT, tunnels: { 4: { ...usual, ...tunnel } } };
}

function planWith(tunnel: Partial<TunnelInput>, input: Partial<FirewallInput> = {}) {
  return planFirewall({ ...inputWith(tunnel), ...input });
}

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`packets and the ${choice} engine`, () => {
    let host: TestNetns;
    let peer: TestNetns;
    let container: TestNetns;
    let guarded: Guarded;
    let guard: FirewallGuard;

    beforeEach(() => {
      host = createNetns("fphost");
      peer = createNetns("fppeer");
      container = createNetns("fpcont");
      for (const netns of [host, peer, container]) netns.exec("sysctl", QUIET_SYSCTLS);
      connect(host, "eth0", `${HOST}/24`, peer, `${PEER}/24`);
      connect(host, "docker0", "10.2.54.1/24", container, `${CONTAINER}/24`);
      container.exec("ip", ["route", "add", "default", "via", "10.2.54.1"]);
      for (const netns of [host, peer]) netns.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
      const here = { netns: host, underlay: HOST, base: "10.2.54.0", mac: "02:00:00:00:00:01" };
      const there = { netns: peer, underlay: PEER, base: "10.2.55.0", mac: "02:00:00:00:00:02" };
      tunnel(here, there);
      tunnel(there, here);
      peer.exec("ip", ["addr", "add", `${REMOTE}/32`, "dev", "lo"]);
      guarded = guardOf(host, choice);
      guard = guarded.guard;
      guard.start();
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, peer, container]) netns.dispose();
    });

    /** Packets that have come out of the tunnel since the host was made. */
    const received = (): number => {
      const [link] = host.ipJson(["-s", "link", "show", "flannel.1"]) as {
        stats64: { rx: { packets: number } };
      }[];
      return link?.stats64.rx.packets ?? 0;
    };
    /** Sends a forged tunnel packet and answers whether it came out of the host's tunnel. */
    const isForgedAccepted = (from: TestNetns, source: string): boolean => {
      const before = received();
      from.exec("ip", ["addr", "replace", `${source}/32`, "dev", "lo"]);
      forge(from, source, HOST);
      return received() > before;
    };

    it("drops what a container sends to the tunnel, whatever source it writes", async () => {
      expect(isForgedAccepted(container, CONTAINER)).toBe(true);
      expect(isForgedAccepted(container, PEER)).toBe(true);
      await guard.update(null, planWith({}));
      expect(isForgedAccepted(container, CONTAINER)).toBe(false);
      expect(isForgedAccepted(container, PEER)).toBe(false);
      expect(canPing(container, REMOTE)).toBe(true);
    });

    it("drops what a container sends to other hosts' tunnels", async () => {
      host.exec("ip", ["link", "set", "docker0", "mtu", "1450"]);
      const tunnelPackets = countIn(peer, `udp dport ${PORT}`);
      await guard.update(null, planWith({}));
      forge(container, CONTAINER, PEER);
      expect(tunnelPackets()).toBe(0);
      canPing(container, REMOTE);
      expect(tunnelPackets()).toBeGreaterThan(0);
    });

    it("takes the tunnel's own interface for no container's, though it is a bridge", async () => {
      await guard.update(null, planWith({}, { containerInterfaces: ["eth*", "docker0"] }));
      expect(canPing(container, REMOTE)).toBe(true);
      expect(isForgedAccepted(container, PEER)).toBe(false);
    });

    it("leaves another overlay on the same port alone", async () => {
      for (const [netns, to, own] of [
        [host, PEER, "10.3.0.1/24"],
        [peer, HOST, "10.3.0.2/24"],
      ] as const) {
        const vxlan = ["type", "vxlan", "id", "2", "remote", to, "dstport", String(PORT), "dev", "eth0"];
        netns.exec("ip", ["link", "add", "other.2", ...vxlan]);
        netns.exec("ip", ["addr", "add", own, "dev", "other.2"]);
        netns.exec("ip", ["link", "set", "other.2", "up"]);
      }
      await guard.update(null, planWith({}));
      expect(canPing(host, "10.3.0.2")).toBe(true);
      expect(canPing(peer, "10.3.0.1")).toBe(true);
    });

    it("lets the network pass Docker's DROP policy and its drop of direct access", async () => {
      host.exec("iptables", ["-P", "FORWARD", "DROP"]);
      const direct = ["-d", CONTAINER, "!", "-i", "docker0", "-j", "DROP"];
      host.exec("iptables", ["-t", "raw", "-A", "PREROUTING", ...direct]);
      expect(canPing(peer, CONTAINER)).toBe(false);
      await guard.update(null, planWith({}));
      expect(canPing(peer, CONTAINER)).toBe(true);
      // Docker starts, or starts again: its rules may stand in front of ours for a moment, and its chains come.
      host.exec("iptables", ["-I", "FORWARD", "-j", "DROP"]);
      await expect.poll(() => canPing(peer, CONTAINER), { timeout: 3000 }).toBe(true);
    });

    describe.each(["dockerd", "tulled"])("when %s starts first", (first) => {
      /** The order of Docker 20 to 27. */
      const startDocker = (): void => {
        host.exec("iptables", ["-P", "FORWARD", "DROP"]);
        for (const chain of ["DOCKER-ISOLATION-STAGE-1", "DOCKER-USER"]) {
          host.exec("iptables", ["-N", chain]);
          host.exec("iptables", ["-I", "FORWARD", "-j", chain]);
        }
        host.exec("iptables", ["-A", "DOCKER-USER", "-j", "RETURN"]);
        host.exec("iptables", [
          "-A",
          "DOCKER-ISOLATION-STAGE-1",
          "-i",
          "br-1",
          "-o",
          "docker0",
          "-j",
          "DROP",
        ]);
      };
      beforeEach(async () => {
        if (first === "dockerd") startDocker();
        await guard.update(null, planWith({}));
        if (first === "tulled") startDocker();
        await guard.update(null, planWith({}));
      });

      it("lets the administrator's rules in DOCKER-USER win", async () => {
        expect(canPing(peer, CONTAINER)).toBe(true);
        host.exec("iptables", ["-I", "DOCKER-USER", "-d", CONTAINER, "-j", "DROP"]);
        await guard.update(null, planWith({}));
        expect(canPing(peer, CONTAINER)).toBe(false);
        expect(canPing(peer, "10.2.54.1")).toBe(true);
      });

      it("lets Docker isolate its networks from each other", async () => {
        const neighbour = createNetns("fpneigh");
        try {
          connect(host, "br-1", "172.18.0.1/16", neighbour, "172.18.0.2/16");
          neighbour.exec("ip", ["route", "add", "default", "via", "172.18.0.1"]);
          // The kernel tells of a new link's carrier up to a second later (linkwatch).
          await expect.poll(() => canPing(neighbour, "10.2.54.1"), { timeout: 3000 }).toBe(true);
          expect(canPing(neighbour, CONTAINER)).toBe(false);
        } finally {
          neighbour.dispose();
        }
      });
    });

    it("lowers the MSS of what goes into the tunnel when asked", async () => {
      const lowered = countIn(peer, "tcp option maxseg size 1410");
      const full = countIn(peer, "tcp option maxseg size 1460");
      const connect = (): string => container.exec("bash", ["-c", `< /dev/tcp/${REMOTE}/9 || true`]);
      await guard.update(null, planWith({}));
      connect();
      expect([lowered(), full()]).toEqual([0, 1]);
      await guard.update(null, planWith({}, { mssClamp: true }));
      connect();
      expect([lowered(), full()]).toEqual([1, 1]);
    });

    it("accepts tunnel packets from known peers only when asked, and from all again after the network stops", async () => {
      await guard.update(null, planWith({ sources: [Address.parse("192.168.50.9")] }));
      expect(canPing(container, REMOTE)).toBe(false);
      await guard.update(null, planWith({ sources: [Address.parse("192.168.50.9"), Address.parse(PEER)] }));
      expect(canPing(container, REMOTE)).toBe(true);
      const plans = new JointPlans(guard);
      await plans.update(null, inputWith({ sources: [Address.parse("192.168.50.9")] }));
      expect(canPing(container, REMOTE)).toBe(false);
      await plans.leave(null);
      await guard.stop();
      expect(canPing(container, REMOTE)).toBe(true);
    });

    it("opens the tunnel's port in the input chain when asked", async () => {
      host.exec("iptables", ["-P", "INPUT", "DROP"]);
      await guard.update(null, planWith({}));
      expect(canPing(container, REMOTE)).toBe(false);
      await guard.update(null, planWith({}, { openPort: true }));
      expect(canPing(container, REMOTE)).toBe(true);
    });

    it("keeps the tunnel out of connection tracking, both ways, and masquerades only what leaves", async () => {
      const tracked = countIn(host, `udp dport ${PORT} ct state != untracked`);
      const untracked = countIn(host, `udp dport ${PORT} ct state untracked`);
      const fromContainer = countIn(peer, `ip saddr ${CONTAINER}`);
      const fromHost = countIn(peer, `ip saddr ${HOST} icmp type echo-request`);
      await guard.update(null, planWith({}));
      expect(canPing(container, REMOTE)).toBe(true);
      const unchanged = fromContainer();
      expect(unchanged).toBeGreaterThan(0);
      expect(canPing(container, PEER)).toBe(true);
      expect(fromHost()).toBeGreaterThan(0);
      expect(fromContainer()).toBe(unchanged);
      expect(tracked()).toBe(0);
      expect(untracked()).toBeGreaterThan(1);
    });
  });
}

function connect(
  host: TestNetns,
  name: string,
  address: string,
  other: TestNetns,
  otherAddress: string,
): void {
  host.exec("ip", ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", other.name]);
  host.exec("ip", ["addr", "add", address, "dev", name]);
  host.exec("ip", ["link", "set", name, "up"]);
  other.exec("ip", ["addr", "add", otherAddress, "dev", "eth0"]);
  other.exec("ip", ["link", "set", "eth0", "up"]);
}

interface TunnelEnd {
  readonly netns: TestNetns;
  readonly underlay: string;
  /** Base of the subnet: the device's address, as flannel has it. */
  readonly base: string;
  readonly mac: string;
}

/** A VXLAN device as flannel makes it, with all that leads to its one peer. */
function tunnel({ netns, underlay, base, mac }: TunnelEnd, peer: TunnelEnd): void {
  const vxlan = ["type", "vxlan", "id", "1", "local", underlay, "dstport", String(PORT), "nolearning"];
  const device = ["dev", "flannel.1"];
  netns.exec("ip", ["link", "add", "flannel.1", "address", mac, "mtu", "1450", ...vxlan]);
  netns.exec("ip", ["addr", "add", `${base}/32`, ...device]);
  netns.exec("ip", ["link", "set", "flannel.1", "up"]);
  netns.exec("ip", ["neigh", "add", peer.base, "lladdr", peer.mac, "nud", "permanent", ...device]);
  netns.exec("bridge", ["fdb", "add", peer.mac, ...device, "dst", peer.underlay, "self", "permanent"]);
  netns.exec("ip", ["route", "add", `${peer.base}/24`, "via", peer.base, ...device, "onlink"]);
}

/** Sends one encapsulated broadcast from `netns`, with `source` as the outer address, to a host's tunnel port. */
function forge(netns: TestNetns, source: string, target: string): void {
  const vxlan = ["type", "vxlan", "id", "1", "remote", target, "local", source, "dstport", String(PORT)];
  netns.exec("ip", ["link", "add", "forged", ...vxlan]);
  netns.exec("ip", ["addr", "add", "10.2.99.1/24", "dev", "forged"]);
  netns.exec("ip", ["link", "set", "forged", "up"]);
  canPing(netns, "10.2.99.2");
  netns.exec("ip", ["link", "del", "forged"]);
}

/** Counts packets that begin or end in `netns` and match; a table of its own, which the rules under test ignore. */
function countIn(netns: TestNetns, match: string): () => number {
  const table = `count${counters++}`;
  const chains = ["input", "output"].map(
    (hook) => `chain ${hook} {\n type filter hook ${hook} priority 10\n ${match} counter\n }`,
  );
  netns.exec("nft", [`table ip ${table} {\n ${chains.join("\n")}\n }`]);
  return () => {
    const listing = netns.exec("nft", ["list", "table", "ip", table]);
    return [...listing.matchAll(/packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  };
}

let counters = 0;
