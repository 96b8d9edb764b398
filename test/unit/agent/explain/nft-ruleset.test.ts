/** What firewalls do with a packet, from what nft prints of them. */

import { describe, expect, it } from "vitest";
import { nftRuleset, ruleTexts } from "../../../../agent/explain/firewall/nft-ruleset.ts";
import {
  type FirewallTable,
  type HookOutcome,
  passHook,
} from "../../../../agent/explain/firewall/ruleset.ts";
import type { Packet } from "../../../../agent/explain/packet.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { PACKET, PACKET6 } from "../../../support/packet-fixture.ts";

const byOf = ({ decisions }: HookOutcome): string | null => decisions.at(-1)?.by ?? null;

const NO_TEXTS = {
  rules: new Map<string, string>(),
  devices: new Map<string, readonly string[]>(),
  dormant: new Set<string>(),
};

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
