/** Decides what a reservation, and its end, mean for the leases that are there. Pure: the command writes. */

import { Address, entriesOf, type Family, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { publicAddressProblem } from "../../ipam/addresses/peer-address.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { formatLeaseKey, formatLeaseValue } from "../../ipam/leases/lease-codec.ts";
import type { StoreEntry } from "../../ipam/stores/contracts.ts";
import { type Audit, type AuditedLease, NO_CONFIG } from "./lease-audit.ts";

const FLAG_OF: Readonly<Record<Family, string>> = { 4: "--public-ip", 6: "--public-ipv6" };

/** As given on the command line. */
export interface ReservationRequest {
  /** `address/length`, one for each family of the network. */
  readonly subnets: readonly string[];
  readonly publicIp?: string;
  readonly publicIpv6?: string;
}

export type ReservationPlan =
  | { readonly type: "create"; readonly key: LeaseKey; readonly value: string }
  /** Take the time to live off the lease that is there. */
  | { readonly type: "keep"; readonly key: LeaseKey; readonly entry: StoreEntry }
  /** It is one already. */
  | { readonly type: "none"; readonly key: LeaseKey };

/**
 * What has to be written. Throws ConfigError for a subnet that the network does not lease, and ConflictError when
 * another lease is in the way.
 */
export function planReservation(audit: Audit, request: ReservationRequest): ReservationPlan {
  if (audit.config === null) throw new ConfigError(audit.configProblem ?? NO_CONFIG);
  const subnets = readSubnets(request.subnets, audit.config);
  const addresses = readAddresses(request);
  const key = formatLeaseKey(subnets);
  const existing = audit.leases.find((lease) => lease.key === key);
  if (existing !== undefined) return planKeeping(existing, addresses);
  rejectRivals(audit.leases, key, subnets, addresses);
  rejectInside(key, subnets, addresses);
  requireHost(key, addresses, audit.config);
  const value = formatLeaseValue({
    publicAddress: addresses,
    backendType: audit.config.backend.type,
    backendData: {},
    nodeId: null,
  });
  return { type: "create", key, value };
}

/** A reservation in use becomes a lease that expires; one whose host never joined is deleted. */
export function planRelease(lease: AuditedLease): "delete" | "expire" | "none" {
  if (!lease.isReservation) return "none";
  return lease.isUnclaimed ? "delete" : "expire";
}

function planKeeping(existing: AuditedLease, addresses: PerFamily<Address>): ReservationPlan {
  for (const [family, address] of entriesOf(addresses)) {
    const holder = existing.attrs?.publicAddress[family];
    if (holder?.equals(address)) continue;
    throw new ConflictError(
      `${existing.key} belongs to ${holder ?? "an unknown host"}, not to ${address}; revoke it first if that host is gone`,
    );
  }
  if (existing.isReservation) return { type: "none", key: existing.key };
  return { type: "keep", key: existing.key, entry: existing.entry };
}

/** A host finds its reservation by its IPv4 address, where the network has IPv4 (leases/claim.ts). */
function requireHost(key: LeaseKey, addresses: PerFamily<Address>, { families }: NetworkConfig): void {
  const family = families[4] === undefined ? 6 : 4;
  if (addresses[family] !== undefined) return;
  const isUnnamed = Object.keys(addresses).length === 0;
  throw new ConfigError(
    isUnnamed
      ? `no host has ${key} yet: name the host to reserve it for with ${FLAG_OF[family]}`
      : `a host finds its reservation by its IPv${family} address: give ${FLAG_OF[family]} too`,
  );
}

function rejectRivals(
  leases: readonly AuditedLease[],
  key: LeaseKey,
  subnets: PerFamily<Prefix>,
  addresses: PerFamily<Address>,
): void {
  for (const other of leases) {
    if ([...entriesOf(other.subnets ?? {})].some(([family, subnet]) => subnets[family]?.overlaps(subnet))) {
      throw new ConflictError(
        `${key} overlaps lease ${other.key}; revoke that one first, or choose another subnet`,
      );
    }
    for (const [family, address] of entriesOf(other.attrs?.publicAddress ?? {})) {
      if (!addresses[family]?.equals(address)) continue;
      throw new ConflictError(
        `${address} has lease ${other.key} already and would keep it; reserve that one, or revoke it first`,
      );
    }
  }
}

/** Packets to a host inside its own subnet would loop. */
function rejectInside(key: LeaseKey, subnets: PerFamily<Prefix>, addresses: PerFamily<Address>): void {
  for (const [family, address] of entriesOf(addresses)) {
    if (subnets[family]?.contains(address))
      throw new ConfigError(
        `${address} lies in the subnet of ${key} itself; give the host's address outside it`,
      );
  }
}

/** What a daemon of this network could lease, and nothing else. */
function readSubnets(texts: readonly string[], { families }: NetworkConfig): PerFamily<Prefix> {
  const subnets: Partial<Record<Family, Prefix>> = {};
  for (const text of texts) {
    const subnet = Prefix.parse(text);
    const network = families[subnet.family];
    if (network === undefined) throw new ConfigError(`${subnet}: the network has no IPv${subnet.family}`);
    const { subnetLength, subnetMin, subnetMax } = network;
    const { value } = subnet.base;
    if (subnet.length !== subnetLength || value < subnetMin.value || value > subnetMax.value) {
      throw new ConfigError(
        `${subnet} is none of the network's subnets: give a /${subnetLength} from ${subnetMin} to ${subnetMax}`,
      );
    }
    if (subnets[subnet.family] !== undefined)
      throw new ConfigError(`${text}: give one subnet for each family`);
    subnets[subnet.family] = subnet;
  }
  for (const [family] of entriesOf(families)) {
    if (subnets[family] === undefined)
      throw new ConfigError(`give an IPv${family} subnet too: the network has both`);
  }
  return subnets;
}

function readAddresses({ publicIp, publicIpv6 }: ReservationRequest): PerFamily<Address> {
  return {
    ...(publicIp === undefined ? {} : { 4: readAddress(publicIp, 4) }),
    ...(publicIpv6 === undefined ? {} : { 6: readAddress(publicIpv6, 6) }),
  };
}

function readAddress(text: string, family: Family): Address {
  const flag = FLAG_OF[family];
  const address = Address.parse(text);
  if (address.family !== family)
    throw new ConfigError(
      `${flag}=${text} is not an IPv${family} address: give it with ${FLAG_OF[address.family]}`,
    );
  const problem = publicAddressProblem(address);
  if (problem !== null)
    throw new ConfigError(`${flag}=${text} ${problem}; give the address that other hosts send to`);
  return address;
}
