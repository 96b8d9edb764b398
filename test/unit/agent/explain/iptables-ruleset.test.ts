/** What firewalls do with a packet, from what iptables-save prints of them. */

import { describe, expect, it } from "vitest";
import { iptablesRuleset } from "../../../../agent/explain/firewall/iptables-ruleset.ts";
import { type Hook, type HookOutcome, passHook } from "../../../../agent/explain/firewall/ruleset.ts";
import type { Packet } from "../../../../agent/explain/packet.ts";
import { PACKET, PACKET6 } from "../../../support/packet-fixture.ts";

const byOf = ({ decisions }: HookOutcome): string | null => decisions.at(-1)?.by ?? null;

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
    const ping: Packet = { ...PACKET, protocol: "icmp", destinationPort: null };
    expect(forward("-p icmp -m icmp --icmp-type 8/0 -j DROP", ping).verdict).toBe("drop");
    expect(forward("-p icmp -m icmp --icmp-type 8/1 -j DROP", ping)).toMatchObject({
      ...{ verdict: "accept", doubtful: [] },
    });
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
