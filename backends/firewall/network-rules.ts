/**
 * The rules of packets from and to the network's containers. Pure and total.
 *
 * The masquerade chain keeps flannel's documented order: what kube-proxy marked is left to kube-proxy, traffic
 * inside the network and traffic to our own containers keeps its source, the rest that leaves or enters the
 * network is masqueraded.
 */

import { type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallInput } from "./plan-input.ts";
import { ACCEPT, DROP, inside, outside, RETURN, rule, sourceDrops } from "./rule-parts.ts";
import { type Action, type Matches, MULTICAST_PREFIX, type Rule } from "./rules.ts";
import { outsideBridge, switchedAccepts } from "./segment-rules.ts";

/** The bit with which kube-proxy marks packets that it will masquerade itself. */
const KUBE_PROXY_MARK = { value: 0x4000, mask: 0x4000 } as const;

export function forwardRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  if (network === undefined) return switchedAccepts(input, family);
  const drops = isolationDrops(input, rangesOf(input, network));
  if (!input.forwardRules) return drops;
  return [
    ...drops,
    rule({ source: inside(network) }, ACCEPT),
    rule({ destination: inside(network) }, ACCEPT),
  ];
}

/** Packets between this network and another one of this host, in both directions. */
function isolationDrops({ isolated = [] }: FirewallInput, ranges: readonly Prefix[]): Rule[] {
  return ranges.flatMap((range) =>
    isolated
      .filter(isOf(range.family))
      .flatMap((other) => [
        rule({ source: inside(range), destination: inside(other) }, DROP),
        rule({ source: inside(other), destination: inside(range) }, DROP),
      ]),
  );
}

/** The network's own range first. */
function rangesOf({ otherRanges = [] }: FirewallInput, network: Prefix): readonly Prefix[] {
  return [network, ...otherRanges.filter(isOf(network.family))];
}

function isOf(family: Family) {
  return (prefix: Prefix): boolean => prefix.family === family;
}

export function masqueradeRules(input: FirewallInput, family: Family): Rule[] {
  const masquerade: Action = { do: "masquerade", randomFully: input.masquerade.randomFully };
  const bridge = outsideBridge(input.segments, family);
  if (bridge !== null)
    return [rule({ source: inside(bridge.subnet), destination: outside(bridge.subnet) }, masquerade)];
  const network = input.networks[family];
  const subnet = input.subnets[family];
  if (network === undefined || subnet === undefined || !input.masquerade.isEnabled) return [];
  const [, ...otherRanges] = rangesOf(input, network);
  const excluded = [...input.masquerade.excluded.filter(isOf(family)), ...otherRanges];
  const multicast = Prefix.parse(MULTICAST_PREFIX[family]);
  return [
    rule({ mark: KUBE_PROXY_MARK }, RETURN),
    rule({ source: inside(subnet), destination: inside(network) }, RETURN),
    rule({ source: inside(network), destination: inside(subnet) }, RETURN),
    rule({ source: outside(network), destination: inside(subnet) }, RETURN),
    ...excluded.map((prefix) => rule({ source: inside(network), destination: inside(prefix) }, RETURN)),
    rule({ source: inside(network), destination: outside(multicast) }, masquerade),
    rule({ source: outside(network), destination: inside(network) }, masquerade),
  ];
}

export function dockerUserRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  if (network === undefined) return switchedAccepts(input, family);
  const ranges = rangesOf(input, network);
  const accepts = (input.entrances[family] ?? []).flatMap((name) =>
    ranges.flatMap((range) => [
      rule({ source: inside(range), inputInterface: name }, ACCEPT),
      rule({ destination: inside(range), outputInterface: name }, ACCEPT),
    ]),
  );
  return [...isolationDrops(input, ranges), ...(input.forwardRules ? accepts : [])];
}

export function overlayInRules(input: FirewallInput, family: Family): Rule[] {
  const network = input.networks[family];
  const subnet = input.subnets[family];
  if (network === undefined || subnet === undefined || !input.forwardRules) return [];
  return (input.entrances[family] ?? []).flatMap((name) =>
    rangesOf(input, network).map((range) => {
      const packets: Matches = { source: inside(range), destination: inside(subnet) };
      return rule({ ...packets, inputInterface: name }, ACCEPT);
    }),
  );
}

/** Drops foreign sources of containers. */
export function containerInRules({ subnets, strictBridges = [] }: FirewallInput, family: Family): Rule[] {
  const subnet = subnets[family];
  if (subnet === undefined) return [];
  return strictBridges.flatMap((bridge) => sourceDrops(bridge, subnet));
}
