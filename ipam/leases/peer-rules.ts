/**
 * What a lease must satisfy without regard to the other leases. Pure.
 *
 * The common rules give the same answer on every host; the local rules add what only this host can see. Each answer
 * completes the sentence "lease K: …" and says what to do.
 */

import {
  ADDRESS_BITS,
  type Address,
  entriesOf,
  FAMILIES,
  type PerFamily,
  type Prefix,
} from "../addresses/ip.ts";
import { describeLocal, type LocalPrefix, type LocalPrefixes } from "../addresses/local-prefixes.ts";
import { publicAddressProblem } from "../addresses/peer-address.ts";
import { mayBeLeased } from "../config/network-config.ts";
import { type Demands, identityName } from "./admission.ts";
import type { Lease, LeaseKey } from "./lease.ts";

export interface CommonRules {
  /** Where subnets may lie, empty for anywhere; a family without an entry is not one of this network's. */
  readonly networks: PerFamily<readonly Prefix[]>;
  /** Why the backend cannot use a lease; null when it can. */
  readonly rejectPeer: (lease: Lease) => string | null;
  /** What the backend tells hosts apart by: tunnel MACs, keys. */
  readonly identitiesOf: (lease: Pick<Lease, "attrs">) => readonly string[];
}

export interface LocalRules {
  /** The subnets of this host, even while another host holds their lease: they are never routed to another host. */
  readonly ownSubnets: PerFamily<Prefix>;
  readonly ownAddresses: PerFamily<Address>;
  readonly ownIdentities: readonly string[];
  readonly prefixes: LocalPrefixes;
  /** Why this host's backend cannot use a lease that others can; null when it can. */
  readonly rejectLocally: (lease: Lease) => string | null;
}

/** The subnets of a lease in the families of the network. */
function subnetsInUse({ subnets }: Lease, { networks }: CommonRules): PerFamily<Prefix> {
  const isWhole = FAMILIES.every((family) => subnets[family] === undefined || networks[family] !== undefined);
  // Usually: a start among thousands of leases asks three times for each.
  if (isWhole) return subnets;
  return Object.fromEntries(entriesOf(subnets).filter(([family]) => networks[family] !== undefined));
}

/** Why no host can have these public addresses, with what to do; null when one can. */
export function addressDamage(lease: Lease, rules: CommonRules): string | null {
  const { publicAddress } = lease.attrs;
  if (Object.keys(publicAddress).length === 0)
    return "it has no public address; restart its host's agent or delete the key";
  return addressProblem(lease, subnetsInUse(lease, rules));
}

/** Why no host can use a lease; null when all can. */
export function commonProblem(lease: Lease, rules: CommonRules): string | null {
  const subnets = subnetsInUse(lease, rules);
  for (const family of FAMILIES) {
    const subnet = subnets[family];
    if (subnet === undefined) continue;
    const networks = rules.networks[family] ?? [];
    if (networks.length > 0 && !networks.some((network) => network.contains(subnet))) {
      return `its subnet ${subnet} lies outside the network ${networks.join(", ")}; delete the key if no host needs it`;
    }
    if (networks.length > 0 && !networks.some((network) => mayBeLeased(subnet, network))) {
      return `its subnet ${subnet} is the whole network ${networks.join(", ")}, and not counted as leased; delete the key if no host needs it`;
    }
  }
  return addressProblem(lease, subnets) ?? rules.rejectPeer(lease);
}

/** Whether a lease needs an address, the backend knows. */
function addressProblem({ attrs }: Lease, subnets: PerFamily<Prefix>): string | null {
  for (const family of FAMILIES) {
    const [subnet, address] = [subnets[family], attrs.publicAddress[family]];
    const problem =
      subnet === undefined || address === undefined ? null : unreachableProblem(address, subnet);
    if (problem !== null) return problem;
  }
  return null;
}

function unreachableProblem(address: Address, subnet: Prefix): string | null {
  const problem = publicAddressProblem(address);
  if (problem !== null) {
    return `its public address ${address} ${problem}, where no host can be reached; give its host another -public-ip`;
  }
  if (subnet.contains(address)) {
    return `its public address ${address} lies in its own subnet ${subnet}, so packets to it would loop; give its host another -public-ip`;
  }
  return null;
}

/** What a lease needs for itself alone. */
export function demandsOf(lease: Lease, rules: CommonRules): Demands {
  const { attrs } = lease;
  // One of another family is left of a former configuration, and no packet is sent there.
  const addresses = entriesOf(attrs.publicAddress)
    .filter(([family]) => rules.networks[family] !== undefined)
    .map(([, address]) => address);
  const texts = addresses.map(String);
  // flanneld takes another lease when its address changed, and keeps its device: both leases of such a host may be
  // used, and what they share belongs to the younger one. It is not theirs where an older lease of tulle's has it.
  const identities = rules.identitiesOf(lease);
  const [claims, yieldsTo] =
    attrs.nodeId === null ? [texts, identities] : [identities.concat(texts), NO_CLAIMS];
  const inside = addresses.filter((address) => isInside(address, rules));
  return {
    claims,
    yieldsTo,
    subnets: subnetsInUse(lease, rules),
    addresses: inside.length === 0 ? NONE : inside,
  };
}

const NONE: readonly Address[] = [];
const NO_CLAIMS: readonly string[] = [];

/** Most public addresses are outside the network, where no subnet can hold them. */
function isInside(address: Address, { networks }: CommonRules): boolean {
  const ranges = networks[address.family] ?? [];
  return ranges.length === 0 || ranges.some((network) => network.contains(address));
}

/** Why this host cannot use a lease that others can; null when it can. */
export function localProblem(lease: Lease, common: CommonRules, local: LocalRules): string | null {
  const subnets = subnetsInUse(lease, common);
  for (const family of FAMILIES) {
    const subnet = subnets[family];
    if (subnet === undefined) continue;
    const own = local.ownSubnets[family];
    if (own?.overlaps(subnet)) {
      return `its subnet ${subnet} overlaps this host's own ${own}; one of the two hosts must give it up`;
    }
    const address = lease.attrs.publicAddress[family];
    const problem = address === undefined ? null : localAddressProblem(address, own, local);
    if (problem !== null) return problem;
  }
  const identities = local.ownIdentities.length === 0 ? [] : common.identitiesOf(lease);
  for (const identity of identities) {
    if (local.ownIdentities.includes(identity))
      return `its ${identityName(identity)} ${identity} is this host's own; one of the two hosts was cloned from the other`;
  }
  const found = local.prefixes.coveredByPeer(subnets);
  if (found === null || isWayTo(lease, subnets, found)) return local.rejectLocally(lease);
  return `its subnet overlaps ${describeLocal(found)}, which this host reaches without the network; ${obstacleRemedy(found)}, so that its host takes another subnet, or move the network's range`;
}

/** A LAN stays; what may be stray or outdated on this host is to go before another host is disconnected. */
function obstacleRemedy({ kind, prefix, origin, mayBeContainers }: LocalPrefix): string {
  const revoke = "revoke the lease";
  if (kind === "route") return `delete that route if nothing needs it, else ${revoke}`;
  const isOfHost = kind === "address" || kind === "link";
  if (isOfHost && mayBeContainers)
    return `if ${origin} has a former subnet of this host, restart what made it, such as Docker, else ${revoke}`;
  const isSingle = isOfHost && prefix.length === ADDRESS_BITS[prefix.family];
  return isSingle ? `delete that address if nothing needs it, else ${revoke}` : revoke;
}

function localAddressProblem(
  address: Address,
  ownSubnet: Prefix | undefined,
  { ownAddresses, prefixes }: LocalRules,
): string | null {
  if (ownAddresses[address.family]?.equals(address)) {
    return `its public address ${address} is this host's own; give one of the two hosts another -public-ip`;
  }
  if (ownSubnet?.contains(address)) {
    return `its public address ${address} lies in this host's own subnet ${ownSubnet}; give its host another -public-ip`;
  }
  const owner = prefixes.owner(address);
  if (owner === undefined) return null;
  return `its public address ${address} is an address of this host (${owner.origin}); delete the address here, or give its host another -public-ip`;
}

/** True for the route that another agent, such as flanneld's host-gw backend, made to the lease's host. */
function isWayTo({ attrs }: Lease, subnets: PerFamily<Prefix>, { prefix, gateway }: LocalPrefix): boolean {
  const { family } = prefix;
  const isSubnet = subnets[family]?.equals(prefix) ?? false;
  return isSubnet && gateway !== null && (attrs.publicAddress[family]?.equals(gateway) ?? false);
}

/** Why this host's own subnets cut off what it reaches without the network; null when they do not. */
export function ownObstacle(key: LeaseKey, { ownSubnets, prefixes }: LocalRules): string | null {
  const found = prefixes.overlappingOwn(ownSubnets);
  if (found === null) return null;
  return `our lease ${key} overlaps ${describeLocal(found)}, which this host reaches without the network; stop tulled, run "tulle lease revoke ${key} --yes" and start tulled, which then takes another subnet`;
}
