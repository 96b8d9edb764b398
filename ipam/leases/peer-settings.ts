/**
 * The settings by which this host judges leases, and the rules that follow from them and from the newest network
 * configuration. Pure.
 *
 * All hosts must come to the same verdict by the common rules, so nothing that only this host can see is part of them.
 */

import { type Address, entriesOf, FAMILIES, type PerFamily, type Prefix } from "../addresses/ip.ts";
import { type AddressSpan, type LocalPrefix, LocalPrefixes } from "../addresses/local-prefixes.ts";
import type { NetworkConfig } from "../config/network-config.ts";
import { leaseSpan } from "./candidates.ts";
import type { Lease, LeaseKey } from "./lease.ts";
import { parseLeaseKey } from "./lease-codec.ts";
import type { CommonRules, LocalRules } from "./peer-rules.ts";

/** All of them may change while the network is in use. */
export interface PeerSettings {
  /**
   * Peers' subnets must lie in one of these or in the newest valid configuration's: while a network changes over,
   * the one in force here and the one before. Empty: anywhere.
   */
  readonly networks: readonly Prefix[];
  readonly ownAddresses: PerFamily<Address>;
  /** What the backend tells this host apart by. */
  readonly ownIdentities: readonly string[];
  /** What this host reaches without the network. */
  readonly local: readonly LocalPrefix[];
  /** Why the backend cannot use a lease, on any host; null when it can. */
  readonly rejectPeer: (lease: Lease) => string | null;
  /** What no host can have published in the backend's data; null when there is none. Absent: nothing is known of it. */
  readonly damageOf?: (lease: Lease) => string | null;
  /** Why this host's backend cannot use a lease that others can; null when it can. */
  readonly rejectLocally: (lease: Lease) => string | null;
  /** What else must be unique among peers: tunnel MACs, keys. */
  readonly identitiesOf: (lease: Pick<Lease, "attrs">) => readonly string[];
}

const LOCAL_SETTINGS: ReadonlySet<string> = new Set<keyof PeerSettings>([
  "ownAddresses",
  "ownIdentities",
  "local",
  "rejectLocally",
]);

/** True when a change of these settings leaves the common rules as they are. */
export function isLocalOnly(settings: Partial<PeerSettings>): boolean {
  return Object.keys(settings).every((name) => LOCAL_SETTINGS.has(name));
}

/** The rules that every host applies. `config` is null before the store has had a valid one. */
export function commonRules(settings: PeerSettings, config: NetworkConfig | null): CommonRules {
  const { networks, rejectPeer, identitiesOf } = settings;
  return { networks: networksByFamily(rangesOf(networks, config)), rejectPeer, identitiesOf };
}

/** The rules of this host alone. `ownKey` is the key of its lease; null without one. */
export function localRules(
  settings: PeerSettings,
  config: NetworkConfig | null,
  ownKey: LeaseKey | null,
): LocalRules {
  const { networks, ownAddresses, ownIdentities, local, rejectLocally } = settings;
  return {
    ownSubnets: ownKey === null ? {} : parseLeaseKey(ownKey),
    ownAddresses,
    ownIdentities,
    rejectLocally,
    prefixes: new LocalPrefixes(local, [...rangesOf(networks, config), ...leaseSpans(config)]),
  };
}

function leaseSpans(config: NetworkConfig | null): readonly AddressSpan[] {
  return entriesOf(config?.families ?? {}).map(([, family]) => leaseSpan(family));
}

/** Those given and the configuration's, in the families of those given. */
function rangesOf(networks: readonly Prefix[], config: NetworkConfig | null): readonly Prefix[] {
  if (networks.length === 0) return [];
  const newest = entriesOf(config?.families ?? {}).map(([, { network }]) => network);
  const all = new Map([...networks, ...newest].map((network) => [network.toString(), network]));
  return [...all.values()].filter(({ family }) => networks.some((network) => network.family === family));
}

/** The ranges by family. Empty lists for both families when the network is not known. */
function networksByFamily(networks: readonly Prefix[]): PerFamily<readonly Prefix[]> {
  const families = FAMILIES.filter(
    (family) => networks.length === 0 || networks.some((network) => network.family === family),
  );
  return Object.fromEntries(
    families.map((family) => [family, networks.filter((network) => network.family === family)]),
  );
}
