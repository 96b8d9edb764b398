/** From the daemon's configuration and its lease to the facts that the firewall's plan is made of. Pure. */

import type { HostFacts, Uplink } from "../../backends/backend.ts";
import {
  DEFAULT_CONTAINER_INTERFACES,
  type FirewallInput,
  type TunnelInput,
} from "../../backends/firewall/plan-input.ts";
import type { MixedBackend } from "../../backends/mixed.ts";
import { interfacesOf } from "../../backends/peers.ts";
import {
  type Address,
  compactPerFamily,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  type Prefix,
} from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { BridgeAddress } from "../host/local-prefixes.ts";

export interface FirewallSituation {
  readonly settings: FirewallSettings;
  readonly network: NetworkConfig;
  readonly own: PerFamily<Prefix>;
  readonly backend: Pick<MixedBackend, "entrances" | "tunnels">;
  readonly host: HostFacts;
  readonly bridges: readonly BridgeAddress[];
  readonly peers: Iterable<Lease>;
  /** Other ranges in which peers have subnets, while the network moves. */
  readonly otherRanges: readonly Prefix[];
  /** Whether hosts have addresses in the network's own range. */
  readonly areHostsInside: boolean;
  /** Ranges of other networks of this daemon: packets between them and this network are dropped. */
  readonly isolated: readonly Prefix[];
}

/** True when one of a host's addresses is in the network's own range, which flannel allows as well. */
export function isHostInside({ families }: NetworkConfig, addresses: PerFamily<Address>): boolean {
  return [...entriesOf(addresses)].some(([family, address]) => families[family]?.network.contains(address));
}

/** What the rules of one network are made of now. */
export function firewallInputFor(situation: FirewallSituation): FirewallInput {
  const { settings, network, own, areHostsInside } = situation;
  const networks = mapFamilies(network.families, (family) => family.network);
  const tunnels = tunnelsOf(situation);
  return {
    networks,
    otherRanges: situation.otherRanges,
    prefersNft: network.enableNftables,
    subnets: own,
    containers: areHostsInside ? own : networks,
    isolated: situation.isolated,
    masquerade: {
      isEnabled: settings.masquerade,
      randomFully: settings.isFullyRandom,
      excluded: settings.masqueradeExcluded,
    },
    forwardRules: settings.acceptForwarded,
    entrances: situation.backend.entrances,
    tunnels: compactPerFamily((family) => tunnels[family]?.[0]),
    sideTunnels: compactPerFamily((family) => withoutFirst(tunnels[family])),
    openPort: settings.openPort,
    notrack: true,
    mssClamp: settings.clampMss,
    containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
    strictBridges: settings.containerSources === "strict" ? containerBridges(situation) : [],
  };
}

/** The bridges with an address in our subnets. The interface of the tunnel also receives what other hosts send. */
function containerBridges({ bridges, own, host }: FirewallSituation): readonly string[] {
  const subnets = Object.values(own);
  const uplinks = interfacesOf(host);
  const names = bridges
    .filter(
      ({ bridge, address }) => !uplinks.includes(bridge) && subnets.some((each) => each.contains(address)),
    )
    .map(({ bridge }) => bridge);
  return [...new Set(names)].sort();
}

function tunnelsOf({ backend, host, settings, peers }: FirewallSituation): PerFamily<readonly TunnelInput[]> {
  const isChecked = settings.tunnelSources === "peers";
  const all = isChecked ? [...peers] : [];
  return compactPerFamily((family) => {
    const uplink = host.uplinks[family];
    // Never absent where there is a tunnel: an interface was chosen for each family of it.
    if (uplink === undefined) return undefined;
    const ends = {
      parentInterface: uplink.interface,
      address: uplink.address,
      aliases: aliasesOf(uplink),
      sources: isChecked ? publicAddresses(all, family) : ("any" as const),
    };
    return backend.tunnels[family]?.map((tunnel) => ({ ...tunnel, ...ends }));
  });
}

function withoutFirst<T>(list: readonly T[] = []): readonly T[] | undefined {
  return list.length > 1 ? list.slice(1) : undefined;
}

/** The published address may be a second one of this host. */
function aliasesOf({ address, publicAddress }: Uplink): Address[] {
  return publicAddress.equals(address) ? [] : [publicAddress];
}

function publicAddresses(peers: readonly Lease[], family: Family): Address[] {
  return peers.flatMap(({ attrs }) =>
    [...entriesOf(attrs.publicAddress)].flatMap(([own, address]) => (own === family ? [address] : [])),
  );
}
