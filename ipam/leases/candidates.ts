/**
 * Which subnets a host tries to lease, in order: those it had, then never used ones, then the longest unused.
 *
 * Each host starts at a hash of its node id and strides through the whole range, so that a hundred hosts which
 * start at once on one listing rarely want the same subnet. Pure.
 */

import { createHash } from "node:crypto";
import {
  ADDRESS_BITS,
  Address,
  compactPerFamily,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../addresses/ip.ts";
import type { AddressSpan } from "../addresses/local-prefixes.ts";
import { OverlapIndex } from "../addresses/overlap-index.ts";
import type { FamilyNetwork } from "../config/network-config.ts";
import { NoFreeSubnetError } from "../errors.ts";

/** More places than this are not looked at: a range that large is never that full. */
const MAX_PROBES = 1 << 20;

export interface CandidateInput {
  readonly families: PerFamily<FamilyNetwork>;
  /** Every subnet that any key in the store names. Read again for each candidate: it may grow meanwhile. */
  readonly taken: OverlapIndex<NonNullable<unknown>>;
  /** True for subnets that would cut this host or another one off; not called for wishes. */
  readonly isAvoided: (subnets: PerFamily<Prefix>) => boolean;
  /** What is avoided, for the message that no subnet is free. */
  readonly avoided?: (span: AddressSpan) => readonly string[];
  /** Keys that may be no host's lease, for the same message. */
  readonly suspects?: (network: FamilyNetwork) => readonly string[];
  /** Subnets that this host had, the likeliest first. */
  readonly wishes: readonly PerFamily<Prefix>[];
  /** Subnets that any host ever had, the longest unused first. */
  readonly used: readonly PerFamily<Prefix>[];
  /** Where in the range the search begins follows from it. */
  readonly seed: string;
}

/** Free subnets, best first, for every family at once. Throws NoFreeSubnetError when it runs out of any. */
export function* candidates(input: CandidateInput): Generator<PerFamily<Prefix>> {
  const { wishes, families } = input;
  for (const wish of wishes) {
    const subnets = complete(wish, input);
    if (subnets !== null) yield subnets;
  }
  const streams = mapFamilies(families, (network, family) => freeSubnets(input, family, network));
  for (;;) {
    yield mapFamilies(families, (network, family) => {
      const next = streams[family]?.next();
      if (next === undefined || next.done) throw noFreeSubnet(network, input);
      return next.value;
    });
  }
}

/**
 * A wish that the network may grant: a family that the wish lacks, as after IPv6 was added to a network, gets a free
 * subnet, and one that the network lacks is left out. Null when nothing of it can be had.
 */
function complete(wish: PerFamily<Prefix>, input: CandidateInput): PerFamily<Prefix> | null {
  const { families, taken } = input;
  const kept = compactPerFamily((family) => (families[family] === undefined ? undefined : wish[family]));
  const isGranted = entriesOf(kept).every(([family, subnet]) => {
    const network = families[family];
    return network !== undefined && isInRange(subnet, network) && taken.find(subnet) === undefined;
  });
  if (!isGranted || entriesOf(kept).length === 0) return null;
  const whole = compactPerFamily((family) => {
    const network = families[family];
    if (network === undefined || kept[family] !== undefined) return kept[family];
    const next = freeSubnets(input, family, network).next();
    return next.done ? undefined : next.value;
  });
  return fits(whole, families) ? whole : null;
}

/** True when the subnets are what the network's configuration would give out today. */
export function fits(subnets: PerFamily<Prefix>, families: PerFamily<FamilyNetwork>): boolean {
  const wanted = [...entriesOf(families)];
  if (wanted.length !== [...entriesOf(subnets)].length) return false;
  return wanted.every(([family, network]) => {
    const subnet = subnets[family];
    return subnet !== undefined && isInRange(subnet, network);
  });
}

/** True when the network may give out a subnet with this address in it. */
export function mayLease(network: FamilyNetwork, address: Address): boolean {
  const { base, last } = leaseSpan(network);
  return address.value >= base.value && address.value <= last.value;
}

/** From the first to the last address that the network may lease. */
export function leaseSpan({ subnetMin, subnetMax, subnetLength }: FamilyNetwork): AddressSpan {
  return { base: subnetMin, last: Prefix.of(subnetMax, subnetLength).last };
}

/** True when the network would give out one of the subnets today, whatever the other families need. */
export function fitsInPart(subnets: PerFamily<Prefix>, families: PerFamily<FamilyNetwork>): boolean {
  return entriesOf(subnets).some(([family, subnet]) => {
    const network = families[family];
    return network !== undefined && isInRange(subnet, network);
  });
}

function isInRange({ base, length }: Prefix, { subnetLength, subnetMin, subnetMax }: FamilyNetwork): boolean {
  return length === subnetLength && base.value >= subnetMin.value && base.value <= subnetMax.value;
}

function* freeSubnets(input: CandidateInput, family: Family, network: FamilyNetwork): Generator<Prefix> {
  const { taken, seed, isAvoided } = input;
  const isFree = (subnet: Prefix): boolean =>
    taken.find(subnet) === undefined && !isAvoided({ [family]: subnet });
  const used = input.used
    .flatMap((subnets) => subnets[family] ?? [])
    .filter((subnet) => isInRange(subnet, network));
  const usedIndex = new OverlapIndex<Prefix>();
  for (const subnet of used) usedIndex.set(subnet, subnet);
  for (const subnet of spread(network, `${seed} ${family}`)) {
    if (usedIndex.find(subnet) === undefined && isFree(subnet)) yield subnet;
  }
  for (const subnet of used) {
    if (isFree(subnet)) yield subnet;
  }
}

/** Every subnet of the range once, in an order of the seed's own. */
function* spread(network: FamilyNetwork, seed: string): Generator<Prefix> {
  const { subnetMin, subnetLength } = network;
  const size = 1n << BigInt(ADDRESS_BITS[subnetMin.family] - subnetLength);
  const count = countOf(network);
  const digest = createHash("sha256").update(seed).digest();
  const start = digest.readBigUInt64BE(0) % count;
  const stride = coprime(digest.readBigUInt64BE(8) % count, count);
  const probes = count < BigInt(MAX_PROBES) ? count : BigInt(MAX_PROBES);
  for (let probe = 0n; probe < probes; probe++) {
    const place = (start + probe * stride) % count;
    yield Prefix.of(Address.of(subnetMin.family, subnetMin.value + place * size), subnetLength);
  }
}

function countOf({ subnetMin, subnetMax, subnetLength }: FamilyNetwork): bigint {
  const hostBits = BigInt(ADDRESS_BITS[subnetMin.family] - subnetLength);
  return ((subnetMax.value - subnetMin.value) >> hostBits) + 1n;
}

/** The first number from `from` on that shares no factor with `count`: its multiples visit every place once. */
function coprime(from: bigint, count: bigint): bigint {
  let stride = from === 0n ? 1n : from;
  while (gcd(stride, count) !== 1n) stride++;
  return stride;
}

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? a : gcd(b, a % b);
}

const LISTED = 5;

function listShort(texts: readonly string[]): string {
  const more = texts.length - LISTED;
  return more > 0 ? `${texts.slice(0, LISTED).join(", ")} and ${more} more` : texts.join(", ");
}

/** Another host may leave at any time, so waiting helps. */
function noFreeSubnet(network: FamilyNetwork, input: CandidateInput): NoFreeSubnetError {
  const { subnetMin, subnetMax, subnetLength } = network;
  const avoided = input.avoided?.(leaseSpan(network)) ?? [];
  const suspects = input.suspects?.(network) ?? [];
  const count = countOf(network);
  const others = avoided.length === 0 ? "" : `, or overlap what must stay reachable: ${listShort(avoided)}`;
  const first =
    suspects.length === 0
      ? ""
      : `look first at ${listShort(suspects)}, and run "tulle lease revoke KEY --yes" for what no host uses; else `;
  return new NoFreeSubnetError(
    `no subnet is free: all ${count} subnets /${subnetLength} from ${subnetMin} to ${subnetMax} are leased${others}; ${first}enlarge or move Network, lengthen SubnetLen or remove leases of hosts that are gone`,
    { retryable: true, details: { subnets: Number(count), subnetMin, subnetMax, subnetLength } },
  );
}
