/** From the named networks that this host has members in to what the firewall's plan is made of. Pure. */

import {
  DEFAULT_CONTAINER_INTERFACES,
  type FirewallInput,
  NO_NETWORK,
  type OutsideBridge,
  type TunnelInput,
} from "../../backends/firewall/plan-input.ts";
import type { GuardedPort } from "../../backends/firewall/rules.ts";
import { BRIDGE_PREFIX, segmentDevices, segmentPortName } from "../../backends/segments/names.ts";
import type { PlannedSegment } from "../../backends/segments/planner.ts";
import { type SegmentFacts, tunnelUplink } from "../../backends/segments/segment.ts";
import { type Address, FAMILIES, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import { OUTSIDE } from "../../ipam/containers/outside.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";
import type { FirewallSettings } from "../config/config.ts";

/** Names the rules of all named networks together. Longer than the name of any other network of the daemon. */
export const SEGMENT_RULES = "namednets";

/** The facts of one moment. */
export interface SegmentFirewallFacts {
  readonly settings: Pick<FirewallSettings, "openPort">;
  readonly segments: ReadonlyMap<NetworkId, PlannedSegment>;
  readonly view: NamedNetworksView;
  readonly facts: SegmentFacts;
}

export function segmentFirewallInput({
  settings,
  segments,
  view,
  facts,
}: SegmentFirewallFacts): FirewallInput {
  return {
    ...NO_NETWORK,
    forwardRules: true,
    tunnels: tunnelsOf(facts, view),
    openPort: settings.openPort,
    notrack: true,
    containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
    segments: {
      prefix: BRIDGE_PREFIX,
      bridges: [...segments.values()].map(({ network }) => segmentDevices(network.vni).bridge),
      families: facts.hasIpv6 ? FAMILIES : [4],
      ports: portsOf(segments, view, facts),
      outside: outsideOf(segments, view, facts),
    },
  };
}

/** Hosts of the store may send packets of named networks, whether or not they are peers of another network. */
function tunnelsOf(facts: SegmentFacts, view: NamedNetworksView): PerFamily<TunnelInput> {
  const uplink = tunnelUplink(facts);
  if (uplink === null) return {};
  const { address, publicAddress } = uplink;
  const { family } = address;
  const tunnel: TunnelInput = {
    port: facts.port,
    parentInterface: uplink.interface,
    address,
    aliases: publicAddress.equals(address) ? [] : [publicAddress],
    device: "",
    sources: hostAddresses(view, facts, family),
    isOfNamedNetworks: true,
  };
  return { [family]: tunnel };
}

function hostAddresses({ hosts }: NamedNetworksView, { host }: SegmentFacts, family: Family): Address[] {
  return [...hosts.values()].flatMap((record) => {
    const address = record.publicAddresses[family];
    return record.host === host || address === undefined ? [] : [address];
  });
}

/**
 * Docker has a bridge of its own for this. Rules for a family that no container needs could fail on a host without its
 * address translation, and all others of the family with them.
 */
function outsideOf(
  segments: ReadonlyMap<NetworkId, PlannedSegment>,
  { members }: NamedNetworksView,
  { host }: SegmentFacts,
): OutsideBridge | null {
  const used = [...segments.values()].filter(({ network: { id } }) =>
    members
      .get(id)
      ?.get(host)
      ?.members.some(({ engine }) => engine === "netavark"),
  );
  if (used.length === 0) return null;
  const { name, subnets } = OUTSIDE;
  const needsIpv6 = used.some(({ network: { pools } }) => pools[6] !== undefined);
  return { name, subnets: needsIpv6 ? subnets : { 4: subnets[4] } };
}

function portsOf(
  segments: ReadonlyMap<NetworkId, PlannedSegment>,
  { members }: NamedNetworksView,
  { host, port }: SegmentFacts,
): readonly GuardedPort[] {
  return [...segments.keys()].flatMap((network) =>
    (members.get(network)?.get(host)?.members ?? []).map(({ endpoint, mac, addresses }) => ({
      name: segmentPortName(network, endpoint),
      mac,
      addresses,
      tunnelPort: port,
    })),
  );
}
