/**
 * Which subnets a host tries to lease, in order: its previous one, then others from a place of its own.
 *
 * Each host starts at a hash of its node id and strides through the whole range, so that a hundred hosts which
 * start at once on one listing rarely want the same subnet. Pure.
 */

import { createHash } from "node:crypto";
import { NoFreeSubnetError } from "./errors.ts";
import { ADDRESS_BITS, Address, entriesOf, type PerFamily, Prefix } from "./ip.ts";
import type { FamilyNetwork } from "./network-config.ts";
import type { OverlapIndex } from "./overlap-index.ts";

/** More places than this are not looked at: a range that large is never that full. */
const MAX_PROBES = 1 << 20;

export interface CandidateInput {
  readonly families: PerFamily<FamilyNetwork>;
  /** Every subnet that any key in the store names. */
  readonly taken: OverlapIndex<unknown>;
  /** The subnets of the last run, null when unknown. */
  readonly previous: PerFamily<Prefix> | null;
  readonly nodeId: string;
}

/** Free subnets, best first, for every family at once. Throws NoFreeSubnetError when it runs out of any. */
export function* candidates(input: CandidateInput): Generator<PerFamily<Prefix>> {
  const { previous, taken, families } = input;
  if (previous !== null && fits(previous, families) && taken.findAny(previous) === undefined) yield previous;
  const streams = [...entriesOf(families)].map(
    ([family, network]) => [family, freeSubnets(network, taken, `${input.nodeId} ${family}`)] as const,
  );
  for (;;) {
    const subnets = streams.map(([family, stream]) => {
      const next = stream.next();
      if (next.done) throw noFreeSubnet(families[family]);
      return [family, next.value] as const;
    });
    yield Object.fromEntries(subnets);
  }
}

/** True when the subnets are what the network's configuration would give out today. */
export function fits(subnets: PerFamily<Prefix>, families: PerFamily<FamilyNetwork>): boolean {
  const wanted = [...entriesOf(families)];
  if (wanted.length !== [...entriesOf(subnets)].length) return false;
  return wanted.every(([family, { subnetLength, subnetMin, subnetMax }]) => {
    const subnet = subnets[family];
    return (
      subnet?.length === subnetLength &&
      subnet.base.value >= subnetMin.value &&
      subnet.base.value <= subnetMax.value
    );
  });
}

function* freeSubnets(network: FamilyNetwork, taken: OverlapIndex<unknown>, seed: string): Generator<Prefix> {
  const { subnetMin, subnetLength } = network;
  const size = 1n << BigInt(ADDRESS_BITS[subnetMin.family] - subnetLength);
  const count = countOf(network);
  const digest = createHash("sha256").update(seed).digest();
  const start = digest.readBigUInt64BE(0) % count;
  const stride = coprime(digest.readBigUInt64BE(8) % count, count);
  const probes = count < BigInt(MAX_PROBES) ? count : BigInt(MAX_PROBES);
  for (let probe = 0n; probe < probes; probe++) {
    const place = (start + probe * stride) % count;
    const subnet = Prefix.of(Address.of(subnetMin.family, subnetMin.value + place * size), subnetLength);
    if (taken.find(subnet) === undefined) yield subnet;
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

function noFreeSubnet(network: FamilyNetwork | undefined): NoFreeSubnetError {
  const range = network === undefined ? "" : ` from ${network.subnetMin} to ${network.subnetMax}`;
  const count = network === undefined ? 0 : countOf(network);
  return new NoFreeSubnetError(
    `no subnet is free: all ${count} of the network's range${range} are leased; enlarge Network, lengthen SubnetLen or remove leases of hosts that are gone`,
  );
}
