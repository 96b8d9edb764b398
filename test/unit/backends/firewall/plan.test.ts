import { describe, expect, it } from "vitest";
import { renderChains } from "../../../../backends/firewall/iptables-render.ts";
import { planFirewall } from "../../../../backends/firewall/plan.ts";
import type { FirewallInput, TunnelInput } from "../../../../backends/firewall/plan-input.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { FIREWALL_INPUT } from "../../../support/firewall-input.ts";

const INPUT: FirewallInput = { ...FIREWALL_INPUT, notrack: false, containerInterfaces: [] };

/** Tunnel packets that pass through, or do not leave the bridge that they came in by. */
const FOR_OTHERS = "! -d 192.168.50.1/32 -j RETURN";

/** The rules of one chain as iptables shows them, without comments. */
function rulesOf(input: FirewallInput, name: string): string[] {
  const chain = renderChains(planFirewall(input).rules[4], null).find((each) => each.name === name);
  return (chain?.rules ?? []).map((rule) => rule.replace(/-m comment --comment "[^"]*" /, ""));
}

describe("the firewall plan", () => {
  it("masquerades in flannel's documented order", () => {
    expect(rulesOf(INPUT, "FLANNEL-POSTRTG")).toEqual([
      "-m mark --mark 0x4000/0x4000 -j RETURN",
      "-s 10.2.54.0/24 -d 10.2.0.0/16 -j RETURN",
      "-s 10.2.0.0/16 -d 10.2.54.0/24 -j RETURN",
      "! -s 10.2.0.0/16 -d 10.2.54.0/24 -j RETURN",
      "-s 10.2.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
      "! -s 10.2.0.0/16 -d 10.2.0.0/16 -j MASQUERADE --random-fully",
    ]);
  });

  it("puts exclusions in front of the first masquerade", () => {
    const excluded = [Prefix.parse("172.16.0.0/12"), Prefix.parse("fd00::/8")];
    const rules = rulesOf({ ...INPUT, masquerade: { ...INPUT.masquerade, excluded } }, "FLANNEL-POSTRTG");
    expect(rules[4]).toBe("-s 10.2.0.0/16 -d 172.16.0.0/12 -j RETURN");
    expect(rules).toHaveLength(7);
  });

  it("warns of exclusions without effect: inside the network, and in a family that it has no range of", () => {
    const excluded = ["10.0.0.0/8", "10.2.0.0/16", "10.2.7.0/24", "fd00::/8"].map((text) =>
      Prefix.parse(text),
    );
    const { warnings } = planFirewall({ ...INPUT, masquerade: { ...INPUT.masquerade, excluded } });
    expect(warnings).toEqual([
      expect.stringContaining("10.2.0.0/16 has no effect"),
      expect.stringContaining("10.2.7.0/24 has no effect"),
      expect.stringContaining("fd00::/8 has no effect"),
    ]);
  });

  it("always drops forged tunnel packets", () => {
    const input = { ...INPUT, containerInterfaces: ["docker0", "br-*"] };
    const containers = ["-i eth0 -j RETURN", "-i docker0 -j DROP", "-i br-+ -j DROP"];
    expect(rulesOf(input, "FLANNEL-TUN-IN")).toEqual([
      FOR_OTHERS,
      "-s 10.2.0.0/16 -j DROP",
      ...containers,
      ...["e+", "ib+", "wl+", "ww+", "bond+", "team+"].map((uplinks) => `-i ${uplinks} -j RETURN`),
      "-s 169.254.0.0/16 -j DROP",
      "-m rpfilter --invert -j DROP",
    ]);
    expect(rulesOf(input, "FLANNEL-TUN-FWD")).toEqual(["-s 10.2.0.0/16 -j DROP", ...containers]);
  });

  it("drops what is delivered under another address than the tunnel's and those that peers send to", () => {
    expect(rulesOf(INPUT, "FLANNEL-TUN-DST")).toEqual(["! -d 192.168.50.1/32 -j DROP"]);
    const tunnel = { ...INPUT.tunnels[4], aliases: [Address.parse("198.51.100.1")] } as TunnelInput;
    const input = { ...INPUT, tunnels: { 4: tunnel } };
    expect(rulesOf(input, "FLANNEL-TUN-DST")).toEqual([
      "-d 198.51.100.1/32 -j RETURN",
      "! -d 192.168.50.1/32 -j DROP",
    ]);
    expect(rulesOf(input, "FLANNEL-TUN-IN")[0]).toBe(
      "! -d 192.168.50.1/32 -m addrtype ! --dst-type LOCAL -j RETURN",
    );
  });

  it("asks all other packets for no more than one test", () => {
    const jumps = renderChains(planFirewall({ ...INPUT, notrack: true }).rules[4], null)
      .filter(({ name, rules }) => name.startsWith("FLANNEL-TUN") && rules.length > 0)
      .map(({ jump }) => jump.replace(/-m comment --comment "[^"]*" /, ""));
    expect(jumps).toEqual([
      "-p udp -m udp --dport 8472 -j FLANNEL-TUN-IN",
      "-p udp -m udp --dport 8472 -j FLANNEL-TUN-OUT",
      "-o eth0 -p udp -m udp --dport 8472 -j FLANNEL-TUN-FWD",
      "-p udp -m udp --dport 8472 -j FLANNEL-TUN-DST",
    ]);
  });

  it("recognizes IPIP by its protocol, and leaves packets to other addresses to other programs' tunnels", () => {
    const { port: _, ...ends } = INPUT.tunnels[4] as TunnelInput & { port: number };
    const ipip: FirewallInput = {
      ...INPUT,
      notrack: true,
      openPort: true,
      tunnels: { 4: { ...ends, protocol: "ipip" } },
    };
    const jumps = renderChains(planFirewall(ipip).rules[4], null)
      .filter(({ name, rules }) => name.startsWith("FLANNEL-TUN") && rules.length > 0)
      .map(({ jump }) => jump);
    expect(jumps).toEqual([
      "-p 4 -j FLANNEL-TUN-IN",
      "-p 4 -j FLANNEL-TUN-OUT",
      "-o eth0 -p 4 -j FLANNEL-TUN-FWD",
    ]);
    expect(rulesOf(ipip, "FLANNEL-INPUT")).toEqual(["-p 4 -j ACCEPT"]);
    expect(rulesOf(ipip, "FLANNEL-TUN-IN")).toEqual(rulesOf({ ...INPUT, notrack: true }, "FLANNEL-TUN-IN"));
    expect(rulesOf(ipip, "FLANNEL-TUN-DST")).toEqual([]);
  });

  it("lets packets of an authenticated tunnel in and judges none of them", () => {
    const tunnel = { ...INPUT.tunnels[4], isAuthenticated: true, sources: [] } as unknown as TunnelInput;
    const input: FirewallInput = {
      ...INPUT,
      notrack: true,
      openPort: true,
      mssClamp: true,
      containerInterfaces: ["docker0"],
      tunnels: { 4: tunnel },
    };
    const plan = planFirewall(input);
    const filled = renderChains(plan.rules[4], null).filter(({ rules }) => rules.length > 0);
    expect(filled.map(({ name }) => name).filter((name) => /TUN|PEERS|INPUT|MSS/.test(name))).toEqual([
      "FLANNEL-INPUT",
      "FLANNEL-MSS",
    ]);
    expect(plan.rules[4]?.knownSources).toBeNull();
  });

  it("lets the packets of further tunnels in, and clamps on their devices too", () => {
    const tunnel = INPUT.tunnels[4] as TunnelInput;
    const sideTunnels = {
      4: [
        { ...tunnel, device: "flannel0", port: 8285 },
        { ...tunnel, device: "flannel.7" },
      ],
    };
    const input: FirewallInput = { ...INPUT, openPort: true, mssClamp: true, sideTunnels };
    expect(rulesOf(input, "FLANNEL-INPUT")).toEqual([
      "-p udp -m udp --dport 8472 -j ACCEPT",
      "-p udp -m udp --dport 8285 -j ACCEPT",
    ]);
    const devices = rulesOf(input, "FLANNEL-MSS").map((rule) => /-o (\S+)/.exec(rule)?.[1]);
    expect(devices).toEqual(["flannel.1", "flannel0", "flannel.7"]);
  });

  it("accepts in Docker's chains only what other hosts send or get, with direct routes by either way", () => {
    const input = { ...INPUT, entrances: { 4: ["flannel.1", "eth0"] } };
    expect(rulesOf(input, "FLANNEL-DOCKER")).toEqual([
      "-s 10.2.0.0/16 -i flannel.1 -j ACCEPT",
      "-d 10.2.0.0/16 -o flannel.1 -j ACCEPT",
      "-s 10.2.0.0/16 -i eth0 -j ACCEPT",
      "-d 10.2.0.0/16 -o eth0 -j ACCEPT",
    ]);
    expect(rulesOf(input, "FLANNEL-DIRECT")).toEqual([
      "-s 10.2.0.0/16 -d 10.2.54.0/24 -i flannel.1 -j ACCEPT",
      "-s 10.2.0.0/16 -d 10.2.54.0/24 -i eth0 -j ACCEPT",
    ]);
  });

  it("drops none of hosts that live in the network's range", () => {
    const input = { ...INPUT, containers: INPUT.subnets };
    const rules = ["-s 10.2.54.0/24 -j DROP", "-i eth0 -j RETURN"];
    expect(rulesOf(input, "FLANNEL-TUN-IN").slice(0, 3)).toEqual([FOR_OTHERS, ...rules]);
    expect(rulesOf(input, "FLANNEL-TUN-FWD")).toEqual(rules);
  });

  it("wants no more than it is asked for", () => {
    const nothing = planFirewall({
      ...INPUT,
      prefersNft: false,
      forwardRules: false,
      masquerade: { ...INPUT.masquerade, isEnabled: false },
      tunnels: {},
    });
    expect(renderChains(nothing.rules[4], null).flatMap((chain) => chain.rules)).toEqual([]);
  });
});
