/** Which rules named networks need, in the words of both engines. */

import { expect, it } from "vitest";
import { SEGMENT_RULES, segmentFirewallInput } from "../../../agent/named-networks/segment-firewall.ts";
import { renderChains } from "../../../backends/firewall/iptables-render.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { SegmentPlanner } from "../../../backends/segments/planner.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { localMacFromSeed } from "../../../ipam/addresses/mac.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import { hostId, TestFeed, testMember, testNetwork } from "../../support/segment-lab.ts";

const BLUE = testNetwork(1);
it("drops what is routed, accepts what is switched, and checks who sends tunnel packets", () => {
  const feed = new TestFeed();
  feed.addNetwork(BLUE);
  for (const n of [1, 2])
    feed.addHost({
      host: hostId(n),
      name: "",
      publicAddresses: { 4: Address.parse(`10.99.0.${n}`) },
      localPrefixes: [],
      version: "",
    });
  feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
  const address = Address.parse("10.99.0.1");
  const facts = {
    host: hostId(1),
    uplinks: {
      4: { interface: "eth0", mtuBytes: 1500, address, publicAddress: address, onLinkPrefixes: [] },
    },
    hasIpv6: true,
    port: 8472,
    macFor: () => localMacFromSeed(Buffer.from("      ")),
  };
  const { segments } = new SegmentPlanner().plan(feed.view, facts);
  const input = segmentFirewallInput({ settings: { openPort: true }, segments, view: feed.view, facts });
  const plan = planFirewall(input);
  const rules = (family: 4 | 6, name: string): readonly string[] =>
    renderChains(plan.rules[family], SEGMENT_RULES).find((chain) => chain.name === `${name}-namednets`)
      ?.rules ?? [];
  for (const family of [4, 6] as const) {
    expect(rules(family, "FLANNEL-BR-FROM")).toEqual(["-i tb-1001 -o tb-1001 -j RETURN", "-j DROP"]);
    expect(rules(family, "FLANNEL-BR-TO")).toEqual(["-i tb-+ -j RETURN", "-j DROP"]);
    expect(rules(family, "FLANNEL-BR-IN")).toEqual(["-j DROP"]);
    expect(rules(family, "FLANNEL-BR-OUT")).toEqual(["-j DROP"]);
    expect(rules(family, "FLANNEL-DOCKER")).toEqual(["-i tb-+ -o tb-+ -j ACCEPT"]);
  }
  expect(rules(4, "FLANNEL-PEERS")).toEqual(["-s 10.99.0.2/32 -j RETURN", "-j DROP"]);
  expect(rules(4, "FLANNEL-TUN-IN")).toContain(
    '-m u32 --u32 "0x0>>0x16&0x3c@0xc>>0x8=0x1000:0xffffff" -j FLANNEL-PEERS-namednets',
  );
  expect(rules(6, "FLANNEL-TUN-IN")).toEqual([]);
  expect(plan.ports).toMatchObject([{ mac: "02:42:00:01:00:0a", tunnelPort: 8472 }]);
  expect([rules(4, "FLANNEL-CONT-IN"), rules(4, "FLANNEL-POSTRTG")]).toEqual([[], []]);
});

/** A host with a container of podman. */
function podmanHost({
  hasIpv6,
  network = BLUE,
}: {
  readonly hasIpv6: boolean;
  readonly network?: NamedNetwork;
}) {
  const feed = new TestFeed();
  feed.addNetwork(network);
  feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10, { engine: "netavark" })]);
  const address = Address.parse("10.99.0.1");
  const facts = {
    host: hostId(1),
    uplinks: {
      4: { interface: "eth0", mtuBytes: 1500, address, publicAddress: address, onLinkPrefixes: [] },
    },
    hasIpv6,
    port: 8472,
    macFor: () => localMacFromSeed(Buffer.from("      ")),
  };
  const { segments } = new SegmentPlanner().plan(feed.view, facts);
  return { segments, view: feed.view, facts };
}

it("lets podman's containers out, and neither other hosts nor neighbours in, by either family", () => {
  const input = segmentFirewallInput({ settings: { openPort: true }, ...podmanHost({ hasIpv6: true }) });
  const plan = planFirewall(input);
  const rules = (family: 4 | 6, name: string): readonly string[] =>
    renderChains(plan.rules[family], SEGMENT_RULES).find((chain) => chain.name === `${name}-namednets`)
      ?.rules ?? [];
  const ofLink = ["-s fe80::/10 -i br-tulle -j RETURN", "-s ::/128 -i br-tulle -j RETURN"];
  for (const [family, subnet, exempt] of [
    [4, "169.254.96.0/20", []],
    [6, "fd66:ffdf:a2ec::/64", ofLink],
  ] as const) {
    expect(rules(family, "FLANNEL-DOCKER")).toEqual([
      "-i tb-+ -o tb-+ -j ACCEPT",
      "-i br-tulle -o br-tulle -j DROP",
      `-s ${subnet} -i br-tulle -j ACCEPT`,
      `-d ${subnet} -o br-tulle -j ACCEPT`,
    ]);
    expect(rules(family, "FLANNEL-CONT-IN")).toEqual([
      ...exempt,
      `! -s ${subnet} -i br-tulle -j DROP`,
      "-i br-tulle -j RETURN",
      `-s ${subnet} -j DROP`,
      `-d ${subnet} -j DROP`,
    ]);
    const masquerade = rules(family, "FLANNEL-POSTRTG");
    expect(masquerade).toHaveLength(1);
    expect(masquerade[0]).toContain(`-s ${subnet} ! -d ${subnet} `);
    expect(masquerade[0]).toContain("-j MASQUERADE");
  }
});

it("lets podman's containers out by IPv6 only where a network of theirs has it", () => {
  const { 4: pool } = BLUE.pools;
  const host = podmanHost({
    hasIpv6: true,
    network: { ...BLUE, pools: pool === undefined ? {} : { 4: pool } },
  });
  const input = segmentFirewallInput({ settings: { openPort: true }, ...host });
  expect(Object.keys(input.segments?.outside?.subnets ?? {})).toEqual(["4"]);
});

it("has no rules for IPv6 where the kernel runs without it", () => {
  const { segments, view, facts } = podmanHost({ hasIpv6: false });
  const plan = planFirewall(segmentFirewallInput({ settings: { openPort: true }, segments, view, facts }));
  expect(plan.rules[6]).toBeUndefined();
});

it("leaves the sources of another network's tunnel on the port to that network", () => {
  const tunnel = {
    port: 8472,
    parentInterface: "eth0",
    address: Address.parse("10.99.0.1"),
    aliases: [],
    device: "flannel.1",
    sources: "any" as const,
  };
  const view = { networks: new Map(), members: new Map(), hosts: new Map() };
  const uplinks = {
    4: {
      interface: "eth0",
      mtuBytes: 1500,
      address: tunnel.address,
      publicAddress: tunnel.address,
      onLinkPrefixes: [],
    },
  };
  const facts = {
    host: hostId(1),
    uplinks,
    hasIpv6: false,
    port: 8472,
    macFor: () => localMacFromSeed(Buffer.from("      ")),
  };
  const named = segmentFirewallInput({ settings: { openPort: true }, segments: new Map(), view, facts });
  const flat = {
    ...named,
    segments: { prefix: "x", bridges: [], families: [], ports: [] },
    tunnels: { 4: tunnel },
  };
  expect(planFirewall({ ...flat, beside: [named] }).rules[4]?.knownSources).toBeNull();
  expect(planFirewall({ ...named, beside: [flat] }).rules[4]?.knownSources).toEqual([]);
  const onlyPeers = { ...flat, tunnels: { 4: { ...tunnel, sources: [Address.parse("10.99.0.5")] } } };
  expect(planFirewall({ ...onlyPeers, beside: [named] }).rules[4]?.knownSources?.map(String)).toEqual([
    "10.99.0.5",
  ]);
});
