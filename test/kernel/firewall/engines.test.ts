/** Both engines against the real kernel: write, compare, repair, take over, leave. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import type { FirewallEngine } from "../../../backends/firewall/engine.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { NftEngine } from "../../../backends/firewall/nft.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { TunnelInput } from "../../../backends/firewall/plan-input.ts";
import { EMPTY_PLAN } from "../../../backends/firewall/rules.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { BLUE_PLAN, INPUT, only, PLAN } from "./fixture.ts";

interface EngineCase {
  readonly name: string;
  readonly create: (runner: CommandRunner) => FirewallEngine;
  readonly flush: string;
  /** What another program may do to our rules, as shell commands. */
  readonly damages: readonly [string, string][];
  /** Prints our masquerade and forward rules of IPv4. */
  readonly list: string;
  /** What that prints with flannel's default flags and --ip-masq: the rules that flannel documents, in its order. */
  readonly listing: string;
}

const NFT_HANDLES = "nft -a list chain ip flannel-ipv4 forward | sed -n 's/.*# handle //p'";

const NFT: EngineCase = {
  name: "nft",
  create: (runner) => new NftEngine(runner),
  flush: "nft flush ruleset",
  damages: [
    ["a deletion", `nft delete rule ip flannel-ipv4 forward handle $(${NFT_HANDLES} | tail -1)`],
    ["an insertion", "nft insert rule ip flannel-ipv4 forward drop"],
    ["a duplicate", "nft add rule ip flannel-ipv4 forward ip saddr 10.2.0.0/16 accept"],
    [
      "another order",
      `nft delete rule ip flannel-ipv4 forward handle $(${NFT_HANDLES} | sed -n 2p)
       nft add rule ip flannel-ipv4 forward ip saddr 10.2.0.0/16 accept`,
    ],
    ["a deleted chain", "nft flush chain ip flannel-ipv4 postrtg; nft delete chain ip flannel-ipv4 postrtg"],
    ["a policy", "nft chain ip flannel-ipv4 forward '{ policy drop; }'"],
    ["another tunnel source", "nft add element ip flannel-ipv4 tunnel-sources '{ 192.168.50.99 }'"],
  ],
  list: "for chain in postrtg forward; do nft list chain ip flannel-ipv4 $chain; done | grep comment | tr -d '\\t'",
  listing: `meta mark & 0x00004000 == 0x00004000 return comment "flanneld masq"
ip saddr 10.2.54.0/24 ip daddr 10.2.0.0/16 return comment "flanneld masq"
ip saddr 10.2.0.0/16 ip daddr 10.2.54.0/24 return comment "flanneld masq"
ip saddr != 10.2.0.0/16 ip daddr 10.2.54.0/24 return comment "flanneld masq"
ip saddr 10.2.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment "flanneld masq"
ip saddr != 10.2.0.0/16 ip daddr 10.2.0.0/16 masquerade fully-random comment "flanneld masq"
ip saddr 10.2.0.0/16 accept comment "flanneld forward"
ip daddr 10.2.0.0/16 accept comment "flanneld forward"
`,
};

const IPTABLES: EngineCase = {
  name: "iptables",
  create: (runner) => new IptablesEngine(runner),
  flush: "for tool in iptables ip6tables; do for t in filter nat mangle raw; do $tool -t $t -F; done; done",
  damages: [
    ["a deletion", "iptables -D FLANNEL-FWD 1"],
    ["an insertion", "iptables -I FLANNEL-FWD -j DROP"],
    ["a duplicate", "iptables -A FLANNEL-FWD -s 10.2.0.0/16 -j ACCEPT"],
    [
      "another order",
      `iptables -t nat -D FLANNEL-POSTRTG 2
       iptables -t nat -I FLANNEL-POSTRTG 4 -s 10.2.54.0/24 -d 10.2.0.0/16 -j RETURN`,
    ],
    ["a deleted chain", "iptables -D FORWARD 1; iptables -F FLANNEL-FWD; iptables -X FLANNEL-FWD"],
    ["a second jump", 'iptables -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD'],
    ["a jump without its comment", "iptables -A FORWARD -j FLANNEL-FWD"],
    ["a jump that is gone", "iptables -t nat -F POSTROUTING"],
    ["another tunnel source", "iptables -t raw -I FLANNEL-PEERS -s 192.168.50.99 -j RETURN"],
  ],
  list: `for chain in POSTROUTING FLANNEL-POSTRTG; do iptables -t nat -S $chain | grep ^-A; done
    for chain in FORWARD FLANNEL-FWD; do iptables -S $chain | grep ^-A; done`,
  listing: `-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.2.54.0/24 -d 10.2.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.2.0.0/16 -d 10.2.54.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.2.0.0/16 -d 10.2.54.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.2.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.2.0.0/16 -d 10.2.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.2.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.2.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
`,
};

/** A listing, or the command for it, of the fixture's IPv6 ranges. */
function inIpv6(text: string): string {
  const words: readonly [RegExp, string][] = [
    [/\biptables\b/g, "ip6tables"],
    [/\bip (?=flannel|[sd]addr)/g, "ip6 "],
    [/flannel-ipv4/g, "flannel-ipv6"],
    [/10\.2\.54\.0\/24/g, "fd00:2:0:54::/64"],
    [/10\.2\.0\.0\/16/g, "fd00:2::/48"],
    [/224\.0\.0\.0\/4/g, "ff00::/8"],
  ];
  return words.reduce((result, [word, replacement]) => result.replace(word, replacement), text);
}

for (const { name, create, flush, damages, list, listing } of [NFT, IPTABLES]) {
  describeAsRoot(`the ${name} engine`, () => {
    let host: TestNetns;
    let engine: FirewallEngine;

    beforeEach(() => {
      host = createNetns("fw");
      engine = create(new CommandRunner(["nsenter", `--net=${host.path}`]));
    });
    afterEach(() => host.dispose());

    const fresh = (): FirewallEngine => create(new CommandRunner(["nsenter", `--net=${host.path}`]));
    const sh = (script: string): string => host.exec("sh", ["-e", "-c", script]);

    it("writes a plan once and finds it equal afterwards, also as another process", async () => {
      expect(await engine.reconcile(only(PLAN))).not.toEqual([]);
      expect(await engine.reconcile(only(PLAN))).toEqual([]);
      expect(await fresh().reconcile(only(PLAN))).toEqual([]);
    });

    it("finds a plan for an IPIP tunnel equal, by whatever name the tool lists its protocol", async () => {
      const { port: _, ...ends } = INPUT.tunnels[4] as TunnelInput & { readonly port: number };
      const ipip = only(planFirewall({ ...INPUT, tunnels: { 4: { ...ends, protocol: "ipip" } } }));
      expect(await engine.reconcile(ipip)).not.toEqual([]);
      expect(await engine.reconcile(ipip)).toEqual([]);
      expect(await fresh().reconcile(ipip)).toEqual([]);
      expect(rulesOf(host)).toMatch(/ipencap|ipip|ipv4|l4proto 4/);
      // Another tunnel's rules replace them, jumps included.
      expect(await engine.reconcile(only(PLAN))).not.toEqual([]);
      expect(await fresh().reconcile(only(PLAN))).toEqual([]);
      expect(rulesOf(host)).not.toMatch(/ipencap/);
    });

    it.each([
      ["IPv4", (text: string) => text],
      ["IPv6", inIpv6],
    ])("shows flannel's rules of %s, one by one", async (_, inFamily) => {
      const masquerade = { ...INPUT.masquerade, excluded: [] };
      await engine.reconcile(only(planFirewall({ ...INPUT, masquerade, openPort: false })));
      expect(sh(inFamily(list))).toBe(inFamily(listing));
    });

    it.each([["a flush", flush] as const, ...damages])("repairs %s", async (_, damage) => {
      await engine.reconcile(only(PLAN));
      const before = sh(list);
      sh(damage);
      expect(await engine.reconcile(only(PLAN))).not.toEqual([]);
      expect(sh(list)).toBe(before);
      expect(await fresh().reconcile(only(PLAN))).toEqual([]);
    });

    it("follows a changed list of tunnel sources and drops it when it is not wanted", async () => {
      await engine.reconcile(only(PLAN));
      const tunnel = {
        port: 8472,
        parentInterface: "eth0",
        aliases: [],
        address: Address.parse("192.168.50.9"),
        device: "flannel.1",
      };
      const sources = [Address.parse("192.168.50.2"), Address.parse("192.168.50.3")];
      const planFrom = (sources: "any" | Address[]) =>
        planFirewall({ ...INPUT, tunnels: { ...INPUT.tunnels, 4: { ...tunnel, sources } } });
      const [changed, unchecked] = [planFrom(sources), planFrom("any")];
      expect(await engine.reconcile(only(changed))).toHaveLength(1);
      expect(await fresh().reconcile(only(changed))).toEqual([]);
      expect(await engine.reconcile(only(unchecked))).not.toEqual([]);
      expect(await fresh().reconcile(only(unchecked))).toEqual([]);
    });

    it("removes everything it made", async () => {
      await engine.reconcile(only(PLAN));
      const announced = await engine.remove({ isDryRun: true });
      expect(announced).not.toEqual([]);
      expect(await engine.remove()).toEqual(announced);
      expect(await engine.remove()).toEqual([]);
      expect(rulesOf(host)).not.toMatch(/flannel/i);
    });

    it("removes what flanneld does not have, and leaves it its own", async () => {
      const both = new Map([...only(PLAN), ["blue", BLUE_PLAN] as const]);
      await engine.reconcile(both);
      const announced = await engine.remove({ isDryRun: true, keepsFlannels: true });
      expect(await engine.remove({ keepsFlannels: true })).toEqual(announced);
      expect(await engine.remove({ keepsFlannels: true })).toEqual([]);
      const left = rulesOf(host);
      expect(left).toMatch(/masquerade/i);
      expect(left).toMatch(/FLANNEL-FWD|chain forward/);
      expect(left).not.toMatch(/tun|blue|10\.3\./i);
      await engine.remove();
      expect(rulesOf(host)).not.toMatch(/flannel/i);
    });

    it("keeps the rules of two networks apart", async () => {
      const both = new Map([...only(PLAN), ["blue", BLUE_PLAN] as const]);
      expect(await engine.reconcile(both)).not.toEqual([]);
      expect(await fresh().reconcile(both)).toEqual([]);
      const all = rulesOf(host);
      const isBlue = /10\.3\.|fd00:3|blue/i;
      expect(all).toMatch(isBlue);
      // Neither network sees the other's rules as a difference.
      expect(await fresh().reconcile(only(PLAN))).toEqual([]);
      expect(await fresh().reconcile(new Map([["blue", BLUE_PLAN]]))).toEqual([]);
      sh(flush);
      await fresh().reconcile(new Map([["blue", BLUE_PLAN]]));
      await fresh().reconcile(only(PLAN));
      expect(await engine.reconcile(both)).toEqual([]);
      expect(linesOf(rulesOf(host))).toEqual(linesOf(all));
      await engine.reconcile(new Map([...only(PLAN), ["blue", EMPTY_PLAN] as const]));
      expect(rulesOf(host)).not.toMatch(isBlue);
      expect(await engine.reconcile(only(PLAN))).toEqual([]);
    });

    it("removes the rules of networks that it has no plan of", async () => {
      await engine.reconcile(new Map([...only(PLAN), ["a-long-name-of-a-network", BLUE_PLAN] as const]));
      const announced = await fresh().remove({ isDryRun: true });
      expect(await fresh().remove()).toEqual(announced);
      expect(rulesOf(host)).not.toMatch(/flannel|10\.3\./i);
    });

    it("leaves what others have", async () => {
      host.exec("iptables", ["-N", "MINE"]);
      host.exec("iptables", ["-A", "MINE", "-s", "10.9.9.9", "-j", "DROP"]);
      host.exec("iptables", ["-A", "FORWARD", "-j", "MINE"]);
      host.exec("nft", ["add table inet mine { chain c { ip saddr 10.9.9.9 drop ; } ; }"]);
      const before = rulesOf(host);
      await engine.reconcile(only(PLAN));
      await engine.reconcile(only(EMPTY_PLAN));
      for (const line of before.split("\n").filter((each) => /MINE|mine|10\.9\.9\.9/.test(each))) {
        expect(rulesOf(host)).toContain(line);
      }
    });
  });
}

function rulesOf(host: TestNetns): string {
  const saved = ["iptables-save", "ip6tables-save"].map((tool) => host.exec(tool, []));
  return [...saved, host.exec("nft", ["list", "ruleset"])].join("\n");
}

/** Sorted, because the order in which networks were written does not matter; without dates. */
function linesOf(listing: string): readonly string[] {
  return listing
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .sort();
}
