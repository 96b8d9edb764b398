/** The guard against the real kernel: packets survive every re-application, and a flush is repaired by events. */

import { spawn } from "node:child_process";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { FirewallInput } from "../../../backends/firewall/plan-input.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { canPing } from "../../support/can-ping.ts";
import { FIREWALL_INPUT, tunnelInput } from "../../support/firewall-input.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { type Guarded, guardOf } from "./guarded.ts";

const INPUT: FirewallInput = {
  ...FIREWALL_INPUT,
  tunnels: { 4: tunnelInput({ parentInterface: "out", address: Address.parse("10.2.55.1") }) },
  containerInterfaces: [],
};
const PLAN = planFirewall(INPUT);
const OTHER_PLAN = planFirewall({
  ...INPUT,
  mssClamp: true,
  masquerade: { ...INPUT.masquerade, excluded: [Prefix.parse("172.16.0.0/12")] },
});

/** Rules as flanneld leaves them, its jump behind everything else. */
const FLANNELD_RULES = [
  ["-N", "FLANNEL-FWD"],
  ["-A", "FORWARD", "-m", "comment", "--comment", "flanneld forward", "-j", "FLANNEL-FWD"],
  [
    "-A",
    "FLANNEL-FWD",
    "-s",
    "10.2.0.0/16",
    "-m",
    "comment",
    "--comment",
    "flanneld forward",
    "-j",
    "ACCEPT",
  ],
  [
    "-A",
    "FLANNEL-FWD",
    "-d",
    "10.2.0.0/16",
    "-m",
    "comment",
    "--comment",
    "flanneld forward",
    "-j",
    "ACCEPT",
  ],
];

for (const choice of ["iptables", "nft"] as const) {
  describeAsRoot(`the firewall guard with ${choice}`, () => {
    let host: TestNetns;
    let left: TestNetns;
    let right: TestNetns;
    let guarded: Guarded;
    let guard: FirewallGuard;

    beforeEach(() => {
      host = createNetns("fwhost");
      left = createNetns("fwleft");
      right = createNetns("fwright");
      connect(host, left, "in", "10.2.54.1/24", "10.2.54.2/24");
      connect(host, right, "out", "10.2.55.1/24", "10.2.55.2/24");
      host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
      host.exec("iptables", ["-P", "FORWARD", "DROP"]);
      guarded = guardOf(host, choice);
      guard = guarded.guard;
      guard.start();
    });
    afterEach(async () => {
      await guarded.dispose();
      for (const netns of [host, left, right]) netns.dispose();
    });

    it("opens no gap while it takes over from flanneld and applies 50 times", async () => {
      for (const rule of FLANNELD_RULES) host.exec("iptables", rule);
      const lost = await countLost(left, "10.2.55.2", async () => {
        for (let round = 0; round < 50; round++)
          await guard.update(null, round % 2 === 0 ? PLAN : OTHER_PLAN);
      });
      expect(guard.status()).toMatchObject({ isInSync: true, engine: choice, lastError: null });
      expect(lost).toBe(0);
    });

    it("accepts what Docker's policy drops, and repairs a flush automatically", async () => {
      expect(canPing(left, "10.2.55.2")).toBe(false);
      await guard.update(null, PLAN);
      expect(canPing(left, "10.2.55.2")).toBe(true);
      host.exec("nft", ["flush", "ruleset"]);
      host.exec("iptables", ["-P", "FORWARD", "DROP"]);
      await expect.poll(() => guard.status().repairs, { timeout: 3000, interval: 5 }).toBeGreaterThan(0);
      await expect.poll(() => canPing(left, "10.2.55.2"), { timeout: 3000 }).toBe(true);
    });

    it("names the program whose change it repairs, also after a long rest", async () => {
      await guard.update(null, PLAN);
      await expect.poll(() => guard.status().isInSync).toBe(true);
      host.exec("nft", ["add", "table", "inet", "unconcerned"]);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      host.exec("nft", ["flush", "ruleset"]);
      await expect.poll(() => guard.status().repairs, { timeout: 3000, interval: 5 }).toBe(1);
      expect(guard.status().lastRepair?.by).toBe("nft");
    });

    it("names a program that undoes its rules again and again, and goes on repairing", async () => {
      await guard.update(null, PLAN);
      const undo = (): string =>
        choice === "nft"
          ? host.exec("nft", ["flush", "chain", "ip", "flannel-ipv4", "forward"])
          : host.exec("iptables", ["-F", "FLANNEL-FWD"]);
      for (let round = 1; round <= 10; round++) {
        undo();
        await expect.poll(() => guard.status().repairs, { timeout: 3000, interval: 5 }).toBe(round);
      }
      const { undone, lastRepair } = guard.status();
      expect(undone).toBe(10);
      expect(lastRepair?.by).toBe(choice);
      expect(lastRepair?.found).toEqual([expect.stringMatching(/chain .* holds other rules/)]);
      undo();
      await expect.poll(() => guard.status().repairs, { timeout: 3000, interval: 5 }).toBe(11);
    });

    it("is not undone by Docker's rules in the raw table, which come and go with each container", async () => {
      await guard.update(null, planFirewall({ ...INPUT, entrances: { 4: ["out"] } }));
      const raw = (action: "-A" | "-D"): string =>
        host.exec("iptables", [
          "-t",
          "raw",
          action,
          "PREROUTING",
          "-d",
          "10.2.54.2",
          "!",
          "-i",
          "in",
          "-j",
          "DROP",
        ]);
      raw("-A");
      const chain = (): string => host.exec("iptables-save", ["-t", "raw"]);
      await expect.poll(chain, { timeout: 3000 }).toContain("-j FLANNEL-DIRECT");
      raw("-D");
      await expect.poll(() => guard.status().repairs, { timeout: 3000 }).toBe(1);
      for (let container = 1; container <= 12; container++) {
        raw("-A");
        await new Promise((resolve) => setTimeout(resolve, 50));
        raw("-D");
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(guard.status()).toMatchObject({ repairs: 1, undone: 0 });
    });

    it("removes the other engine's rules when it is switched", async () => {
      await guard.update(null, PLAN);
      await guard.stop();
      host.exec("iptables", ["-P", "FORWARD", "ACCEPT"]);
      const other = guardOf(host, choice === "nft" ? "iptables" : "nft");
      await other.guard.update(null, PLAN);
      const chains = host.exec("iptables-save", []).includes("FLANNEL-");
      const table = host.exec("nft", ["list", "tables"]).includes("flannel-ipv4");
      expect({ chains, table }).toEqual({ chains: choice === "nft", table: choice === "iptables" });
      await other.dispose();
    });
  });
}

function connect(host: TestNetns, peer: TestNetns, name: string, inner: string, outer: string): void {
  host.exec("ip", ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer.name]);
  host.exec("ip", ["addr", "add", inner, "dev", name]);
  host.exec("ip", ["link", "set", name, "up"]);
  peer.exec("ip", ["addr", "add", outer, "dev", "eth0"]);
  peer.exec("ip", ["link", "set", "eth0", "up"]);
  peer.exec("ip", ["route", "add", "default", "via", inner.replace(/\/.*/, "")]);
}

/** Pings 200 times a second while `body` runs and answers how many pings had no reply. */
async function countLost(from: TestNetns, to: string, body: () => Promise<void>): Promise<number> {
  const child = spawn("nsenter", [`--net=${from.path}`, "ping", "-i", "0.005", "-q", to]);
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += String(chunk);
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await body();
  await new Promise((resolve) => setTimeout(resolve, 200));
  child.kill("SIGINT");
  await new Promise((resolve) => child.on("close", resolve));
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
  return Number(sent) - Number(received);
}
