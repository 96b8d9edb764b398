/** What firewalls do with a packet, from what the tools print of them. */

import { describe, expect, it } from "vitest";
import { iptablesRuleset } from "../../../../agent/explain/firewall/iptables-ruleset.ts";
import { nftRuleset, ruleTexts } from "../../../../agent/explain/firewall/nft-ruleset.ts";
import {
  type FirewallTable,
  type Hook,
  type HookOutcome,
  passHook,
} from "../../../../agent/explain/firewall/ruleset.ts";
import type { Packet } from "../../../../agent/explain/packet.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const PACKET: Packet = {
  family: 4,
  source: Address.parse("10.2.1.5"),
  destination: Address.parse("10.2.3.7"),
  protocol: "tcp",
  destinationPort: 443,
  inputInterface: "cni0",
  outputInterface: "flannel.1",
  isToHost: false,
  mark: 0,
  isTracked: true,
};
const PACKET6: Packet = {
  ...PACKET,
  family: 6,
  source: Address.parse("fd00:2:1::5"),
  destination: Address.parse("fd00:2:3::7"),
};

const byOf = ({ decisions }: HookOutcome): string | null => decisions.at(-1)?.by ?? null;

const NO_TEXTS = {
  rules: new Map<string, string>(),
  devices: new Map<string, readonly string[]>(),
  dormant: new Set<string>(),
};

describe("a dump of iptables-save", () => {
  const save = (table: string, ...lines: readonly string[]): string =>
    [`*${table}`, ...lines, "COMMIT", ""].join("\n");
  const forward = (rule: string, packet: Packet = PACKET): HookOutcome =>
    passHook(
      iptablesRuleset(
        save("filter", ":FORWARD ACCEPT [0:0]", ":X - [0:0]", `-A FORWARD ${rule}`),
        packet.family,
        "iptables",
      ),
      "forward",
      packet,
    );

  it.each([
    ["-j DROP"],
    ["-s 10.2.0.0/16 -j DROP"],
    ["-s 10.2.1.5/32 ! -d 10.2.4.0/24 -j DROP"],
    ["-i cni0 -o flannel.1 -j DROP"],
    ["-i cni+ ! -o eth0 -j DROP"],
    ["-p tcp -m tcp --dport 443 -j DROP"],
    ["-p tcp -m tcp --dport 400:500 -j DROP"],
    ["-p tcp -m multiport --dports 80,440:450 -j DROP"],
    ["-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP"],
    ["-m conntrack --ctstate NEW,RELATED -j DROP"],
    ["-m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP"],
    ["-m addrtype ! --dst-type LOCAL -j DROP"],
    ["-m mark ! --mark 0x4000/0x4000 -j DROP"],
    ['-m comment --comment "-s 1.2.3.4 -j ACCEPT" -j DROP'],
    ["-p 6 -j DROP"],
  ])("%s drops the packet", (rule) => {
    const outcome = forward(rule);
    expect(outcome.verdict).toBe("drop");
    expect(byOf(outcome)).toBe(`iptables filter, chain FORWARD: ${rule}`);
    expect(outcome.doubtful).toEqual([]);
  });

  it.each([
    ["-s 10.3.0.0/16 -j DROP"],
    ["! -i cni0 -j DROP"],
    ["-o eth+ -j DROP"],
    ["-p udp -m udp --dport 443 -j DROP"],
    ["-p icmp -m icmp --icmp-type 8 -j DROP"],
    ["-p tcp -m tcp --dport 80 -j DROP"],
    ["-p tcp -m tcp --tcp-flags SYN,RST RST -j DROP"],
    ["-m state --state ESTABLISHED -j DROP"],
    ["-m mark --mark 0x1 -j DROP"],
    ["-m statistic --mode random --probability 0.5 -p udp -j DROP"],
    ['-j LOG --log-prefix "x -j DROP"'],
  ])("%s lets the packet pass", (rule) => {
    const outcome = forward(rule);
    expect(outcome.verdict).toBe("accept");
    expect(outcome.doubtful).toEqual([]);
  });

  it.each([
    ["-m limit --limit 5/min -j DROP", true],
    ["-m set --match-set blocked src -j REJECT --reject-with icmp-port-unreachable", true],
    ["-m physdev ! --physdev-is-bridged -j DROP", true],
    ["-p tcp -m tcp --sport 1024:2048 -j DROP", true],
    ["-m connmark --mark 0x1 -j DROP", true],
    ["-m limit --limit 5/min -j ACCEPT", false],
  ])("%s may match", (rule, isDecisive) => {
    const text = `iptables filter, chain FORWARD: ${rule}`;
    expect(forward(rule)).toMatchObject({ verdict: "accept", doubtful: [{ text, isDecisive }] });
  });

  it("names the chains that lead to what decides, not those in which nothing matched", () => {
    const lines = [":FORWARD ACCEPT [0:0]", ":IDLE - [0:0]", ":DEEP - [0:0]", "-A FORWARD -j IDLE"];
    const more = ["-A FORWARD -i cni0 -j DEEP", "-A IDLE -d 1.2.3.4/32 -j ACCEPT", "-A DEEP -j DROP"];
    const tables = iptablesRuleset(save("filter", ...lines, ...more), 4, "iptables");
    expect(passHook(tables, "forward", PACKET).decisions).toEqual([
      {
        by: "iptables filter, chain DEEP: -j DROP",
        through: ["iptables filter, chain FORWARD: -i cni0 -j DEEP"],
      },
    ]);
  });

  it("tests echo requests and IPv6", () => {
    expect(
      forward("-p icmp -m icmp --icmp-type 8 -j DROP", { ...PACKET, protocol: "icmp", destinationPort: null })
        .verdict,
    ).toBe("drop");
    const ping6: Packet = { ...PACKET6, protocol: "icmp", destinationPort: null };
    expect(forward("-s fd00:2::/32 -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP", ping6).verdict).toBe(
      "drop",
    );
  });

  it("follows jumps, returns and gotos, and ends in the policy", () => {
    const text = save(
      "filter",
      ...[":FORWARD DROP [0:0]", ":A - [0:0]", ":B - [0:0]", ":C - [0:0]"],
      ...["-A FORWARD -j A", "-A FORWARD -g C", "-A FORWARD -j ACCEPT"],
      ...["-A A -j B", "-A A -s 10.2.0.0/16 -j RETURN", "-A A -j ACCEPT"],
      ...["-A B -d 10.9.0.0/16 -j ACCEPT", "-A C -d 10.9.0.0/16 -j ACCEPT"],
    );
    const outcome = passHook(iptablesRuleset(text, 4, "iptables"), "forward", PACKET);
    expect(outcome.verdict).toBe("drop");
    expect(byOf(outcome)).toBe(
      "the policy of iptables filter, chain FORWARD, which drops what no rule accepts",
    );
    expect(outcome.chains).toBe(4);
  });

  it("translates addresses, and says where it does not know to what", () => {
    const nat = (hook: string, rule: string): HookOutcome =>
      passHook(
        iptablesRuleset(save("nat", `:${hook} ACCEPT [0:0]`, `-A ${hook} ${rule}`), 4, "iptables"),
        hook.toLowerCase() as Hook,
        PACKET,
      );
    const { packet } = nat("PREROUTING", "-p tcp -m tcp --dport 443 -j DNAT --to-destination 10.2.1.9:8443");
    expect([`${packet.destination}`, packet.destinationPort]).toEqual(["10.2.1.9", 8443]);
    const rule = "-s 10.2.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully";
    expect(nat("POSTROUTING", rule).sourceTranslation).toBe(`iptables nat, chain POSTROUTING: ${rule}`);
    expect(
      nat("PREROUTING", "-j DNAT --to-destination 10.2.1.9-10.2.1.12").unknownTranslation,
    ).not.toBeNull();
  });

  it("translates nothing of a packet that is not tracked", () => {
    const raw = save("raw", ":OUTPUT ACCEPT [0:0]", "-A OUTPUT -p tcp -j CT --notrack");
    const nat = save(
      "nat",
      ":OUTPUT ACCEPT [0:0]",
      ":POSTROUTING ACCEPT [0:0]",
      "-A POSTROUTING -j MASQUERADE",
    );
    const all = iptablesRuleset(raw + nat, 4, "iptables");
    const { packet } = passHook(all, "output", PACKET);
    expect(passHook(all, "postrouting", packet).sourceTranslation).toBeNull();
    expect(passHook(all, "postrouting", PACKET).sourceTranslation).not.toBeNull();
    const drop = save("filter", ":FORWARD ACCEPT [0:0]", "-A FORWARD -m conntrack --ctstate NEW -j DROP");
    expect(passHook(iptablesRuleset(drop, 4, "iptables"), "forward", packet).verdict).toBe("accept");
  });

  it("knows whether a rule has given the packet another destination", () => {
    const chains = [":PREROUTING ACCEPT [0:0]", ":S - [0:0]", "-A S -j DNAT --to-destination 10.2.9.9:80"];
    const arrived = (rule: string): Packet => {
      const text = save("nat", ...chains, `-A PREROUTING ${rule}`);
      return passHook(iptablesRuleset(text, 4, "iptables"), "prerouting", PACKET).packet;
    };
    const drop = "-m conntrack --ctstate DNAT -j DROP";
    const verdicts = (rule: string) => {
      const { verdict, doubtful } = forward(drop, arrived(rule));
      return [verdict, doubtful.length];
    };
    expect(verdicts("-d 10.2.3.7/32 -j S")).toEqual(["drop", 0]);
    expect(verdicts("-d 10.2.3.8/32 -j S")).toEqual(["accept", 0]);
    expect(verdicts("-m set --match-set services dst -j S")).toEqual(["accept", 1]);
  });

  it("forgets a mark that it does not know, and keeps one that it does", () => {
    const marked = (target: string) => {
      const text = save("mangle", ":PREROUTING ACCEPT [0:0]", `-A PREROUTING ${target}`);
      return passHook(iptablesRuleset(text, 4, "iptables"), "prerouting", PACKET).packet.mark;
    };
    expect(marked("-j MARK --set-xmark 0x7/0xffffffff")).toBe(7);
    expect(marked("-j MARK --set-xmark 0x1/0x1")).toBe(1);
    expect(marked("-m limit --limit 1/sec -j MARK --set-xmark 0x7/0xffffffff")).toBeNull();
    expect(marked("-j CONNMARK --restore-mark")).toBeNull();
    expect(marked("-j CONNMARK --save-mark")).toBe(0);
    // As kube-proxy marks what it masquerades.
    const both = save(
      "mangle",
      ":PREROUTING ACCEPT [0:0]",
      "-A PREROUTING -j MARK --set-xmark 0xf0/0xffffffff",
      "-A PREROUTING -j MARK --set-xmark 0x4000/0x4000",
      "-A PREROUTING -j MARK --set-xmark 0x0/0x10",
    );
    const { packet } = passHook(iptablesRuleset(both, 4, "iptables"), "prerouting", PACKET);
    expect(packet.mark).toBe(0x40e0);
  });
});

describe("a ruleset of nft", () => {
  const chain = (policy = "accept", hook = "forward", prio = 0): object => ({
    chain: { family: "inet", table: "f", name: "c", handle: 1, type: "filter", hook, prio, policy },
  });
  const rule = (...expr: readonly object[]): object => ({
    rule: { family: "inet", table: "f", chain: "c", handle: 7, expr },
  });
  const match = (left: object, right: unknown, op = "=="): object => ({ match: { op, left, right } });
  const payload = (protocol: string, field: string): object => ({ payload: { protocol, field } });
  const meta = (key: string): object => ({ meta: { key } });
  const tables = (...objects: readonly object[]): readonly FirewallTable[] =>
    nftRuleset(
      [{ table: { family: "inet", name: "f", handle: 1 } }, ...objects] as never,
      { ...NO_TEXTS, rules: new Map([["inet f c 7", "the text"]]) },
      () => false,
    ).tables;
  const forward = (packet: Packet, ...objects: readonly object[]): HookOutcome =>
    passHook(tables(chain(), ...objects), "forward", packet);
  const drop = { drop: null };

  it.each([
    [0x9, 9],
    [{ "|": [{ meta: { key: "mark" } }, 0x8] }, 0xb],
    [{ "&": [{ meta: { key: "mark" } }, 0xfffffffe] }, 2],
    [{ "^": [{ "&": [{ meta: { key: "mark" } }, 0xfffffffc] }, 0x10] }, 0x10],
    [{ ct: { key: "mark" } }, null],
  ])("sets the mark 3 to %j", (value, mark) => {
    const set = rule({ mangle: { key: { meta: { key: "mark" } }, value } });
    expect(forward({ ...PACKET, mark: 3 }, set).packet.mark).toBe(mark);
  });

  it.each<[string, object]>([
    ["a prefix", match(payload("ip", "saddr"), { prefix: { addr: "10.2.0.0", len: 16 } })],
    ["another destination", match(payload("ip", "daddr"), "10.2.3.8", "!=")],
    ["a set of ports", match(payload("tcp", "dport"), { set: [80, { range: [400, 500] }] })],
    ["a named set", match(payload("ip", "saddr"), "@s")],
    ["a state", match({ ct: { key: "state" } }, ["new", "invalid"], "in")],
    ["an interface", match(meta("iifname"), "cni*")],
    ["a protocol", match(meta("l4proto"), { set: ["tcp", "udp"] })],
    ["the mark", match({ "&": [meta("mark"), 16384] }, 16384, "!=")],
    ["a SYN", match({ "&": [payload("tcp", "flags"), ["fin", "syn", "rst", "ack"]] }, "syn")],
    ["a destination elsewhere", match({ fib: { result: "type", flags: ["daddr"] } }, "local", "!=")],
    ["a range of addresses", match(payload("ip", "saddr"), { range: ["10.2.1.1", "10.2.1.9"] })],
    ["a port above", match(payload("tcp", "dport"), 442, ">")],
  ])("drops by %s", (_, test) => {
    const set = {
      set: {
        family: "inet",
        table: "f",
        name: "s",
        elem: ["10.8.0.1", { prefix: { addr: "10.2.0.0", len: 16 } }],
      },
    };
    const outcome = forward(PACKET, set, rule(test, { counter: { packets: 0, bytes: 0 } }, drop));
    expect(outcome).toMatchObject({ verdict: "drop", doubtful: [] });
    expect(byOf(outcome)).toBe("nft inet f, chain c: the text");
  });

  it.each<[string, object]>([
    ["a field of the other family", match(payload("ip6", "saddr"), "fd00::1", "!=")],
    ["a port of another protocol", match(payload("udp", "dport"), 443, "!=")],
    ["ping", match(payload("icmp", "type"), "echo-request")],
    ["established connections", match({ ct: { key: "state" } }, ["established", "related"], "in")],
    ["another interface", match(meta("oifname"), "flannel.1", "!=")],
  ])("lets pass by %s", (_, test) => {
    expect(forward(PACKET, rule(test, drop))).toMatchObject({ verdict: "accept", doubtful: [] });
  });

  it.each<[string, object]>([
    ["a limit", { limit: { rate: 5, per: "second" } }],
    ["a user", match(meta("skuid"), 0)],
    ["a set that is not there", match(payload("ip", "saddr"), "@none")],
    ["a reverse path", match({ fib: { result: "oif", flags: ["saddr", "iif"] } }, false)],
    ["a match of iptables", { xt: { type: "match", name: "set" } }],
  ])("may drop by %s", (_, test) => {
    const { verdict, doubtful } = forward(PACKET, rule(test, drop));
    expect({ verdict, doubtful }).toEqual({
      verdict: "accept",
      doubtful: [{ text: "nft inet f, chain c: the text", isDecisive: true }],
    });
  });

  it("takes the verdict of a map, and goes through chains by priority", () => {
    const states = {
      set: [
        ["established", { accept: null }],
        ["new", { drop: null }],
      ],
    };
    expect(forward(PACKET, rule({ vmap: { key: { ct: { key: "state" } }, data: states } })).verdict).toBe(
      "drop",
    );
    const early = {
      chain: {
        family: "ip",
        table: "e",
        name: "c",
        type: "filter",
        hook: "forward",
        prio: -10,
        policy: "drop",
      },
    };
    const outcome = passHook(
      nftRuleset(
        [
          { table: { family: "ip", name: "e" } },
          { table: { family: "inet", name: "f" } },
          chain(),
          rule({ accept: null }),
          early,
        ] as never,
        NO_TEXTS,
        () => false,
      ).tables,
      "forward",
      PACKET,
    );
    expect(byOf(outcome)).toBe("the policy of nft ip e, chain c, which drops what no rule accepts");
    expect(
      forward(PACKET6, rule(match(payload("ip6", "saddr"), { prefix: { addr: "fd00:2::", len: 32 } }), drop))
        .verdict,
    ).toBe("drop");
  });

  it("looks up concatenations, as kube-proxy has them for each service", () => {
    const key = { concat: [payload("ip", "daddr"), meta("l4proto"), payload("th", "dport")] };
    const element = (...values: readonly unknown[]) => ({
      elem: { val: { concat: values }, comment: "default/web" },
    });
    const services = {
      map: {
        ...{ family: "inet", table: "f", name: "services" },
        elem: [
          [element("10.96.0.1", "tcp", 443), { drop: null }],
          [{ concat: ["10.2.3.7", "udp", 443] }, { drop: null }],
          [{ concat: ["10.2.3.7", "tcp", 80] }, { drop: null }],
        ],
      },
    };
    const look = rule({ vmap: { key, data: "@services" } });
    const outcome = (packet: Packet) => forward(packet, services, look);
    expect(outcome(PACKET)).toMatchObject({ verdict: "accept", doubtful: [] });
    expect(outcome({ ...PACKET, destination: Address.parse("10.96.0.1") }).verdict).toBe("drop");
    const ping: Packet = { ...PACKET, protocol: "icmp", destinationPort: null };
    expect(outcome(ping)).toMatchObject({ verdict: "accept", doubtful: [] });
    const pairs = { set: [{ concat: [{ prefix: { addr: "10.2.0.0", len: 16 } }, { range: [400, 500] }] }] };
    const pair = { concat: [payload("ip", "daddr"), payload("tcp", "dport")] };
    expect(forward(PACKET, rule(match(pair, pairs), drop)).verdict).toBe("drop");
    expect(forward(ping, rule(match(pair, pairs, "!="), drop)).verdict).toBe("accept");
  });

  it("names a map once that chooses by what is not known", () => {
    const verdicts = { set: [0, 1, 2].map((one) => [one, { drop: null }]) };
    const choice = { numgen: { mode: "random", mod: 3, offset: 0 } };
    const { doubtful } = forward(PACKET, rule({ vmap: { key: choice, data: verdicts } }));
    expect(doubtful).toEqual([{ text: "nft inet f, chain c: the text", isDecisive: true }]);
  });

  it("knows whether a rule has given the packet another destination, as firewalld asks", () => {
    const translated = rule(match({ ct: { key: "status" } }, "dnat", "in"), drop);
    const outcome = (isTranslated: boolean | null) => forward({ ...PACKET, isTranslated }, translated);
    expect(outcome(true).verdict).toBe("drop");
    expect(outcome(false)).toMatchObject({ verdict: "accept", doubtful: [] });
    expect(outcome(null)).toMatchObject({ verdict: "accept", doubtful: [{ isDecisive: true }] });
    expect(forward(PACKET, translated)).toMatchObject({ verdict: "accept", doubtful: [] });
  });

  it("knows a packet that is not tracked", () => {
    const untracked = rule(match({ ct: { key: "state" } }, "untracked"), drop);
    expect(forward(PACKET, untracked).verdict).toBe("accept");
    expect(forward(PACKET, rule({ notrack: null }), untracked).verdict).toBe("drop");
  });

  it("names tables that it does not test, and finds the texts of rules", () => {
    const chainOf = (family: string, table: string, hook: string) => [
      { chain: { family, table, name: "c", hook, prio: 0, policy: "accept" } },
      { rule: { family, table, chain: "c", handle: 1, expr: [{ drop: null }] } },
    ];
    const entries = [
      ...chainOf("bridge", "ports", "prerouting"),
      ...chainOf("netdev", "early", "ingress"),
      ...chainOf("netdev", "late", "egress"),
      ...chainOf("inet", "both", "ingress"),
      ...chainOf("inet", "plain", "forward"),
      { chain: { family: "netdev", table: "empty", name: "c", hook: "ingress", policy: "accept" } },
    ];
    const hooks = [
      ["netdev early", 'ingress device "eth0"'],
      ["netdev late", 'egress devices = { "eth0", "eth1" }'],
    ].map(
      ([table, hook]) =>
        `table ${table} { # handle 1\n\tchain c { # handle 1\n\t\ttype filter hook ${hook} priority filter; policy accept;\n\t}\n}\n`,
    );
    expect(nftRuleset(entries as never, ruleTexts(hooks.join("")), () => false).others).toEqual([
      { name: "nft bridge ports", hook: "bridge", devices: null },
      { name: "nft netdev early", hook: "ingress", devices: ["eth0"] },
      { name: "nft netdev late", hook: "egress", devices: ["eth0", "eth1"] },
      { name: "nft inet both", hook: "ingress", devices: null },
    ]);
    const listing =
      "table inet f { # handle 1\n\tchain c { # handle 2\n\t\ttype filter hook forward priority 0; policy accept;\n\t\tip saddr 10.0.0.1 drop # handle 7\n\t}\n}\n";
    expect(ruleTexts(listing).rules.get("inet f c 7")).toBe("ip saddr 10.0.0.1 drop");
  });
});
