/**
 * Chooses and checks the ranges of a named network. Pure; random numbers are given.
 *
 * Automatic IPv4 ranges come from where neither Docker's default pools (172.17.0.0/16 to 172.31.0.0/16 and
 * 192.168.0.0/16) nor most home and office networks are; IPv6 ranges are unique local addresses (RFC 4193).
 */

import { Address, type Family, Prefix } from "../addresses/ip.ts";
import { ConfigError, ConflictError } from "../errors.ts";
import type { PoolRequest } from "./contracts.ts";
import type { Pool } from "./named-network.ts";
import { poolProblem, subnetProblem } from "./network-rules.ts";

/** A range that is in use, and what uses it, for messages: `10.0.0.0/8 (…)`. */
export interface UsedRange {
  readonly prefix: Prefix;
  readonly title: string;
}

type RandomBytes = (count: number) => Uint8Array;

/** Where free subnets of a family are searched, in this order, and how long they are. */
interface Search {
  readonly length: number;
  readonly ranges: (randomBytes: RandomBytes) => readonly Prefix[];
}

const PRIVATE_RANGES = ["10.128.0.0/9", "10.0.0.0/9", "100.64.0.0/10"].map(Prefix.parse);

/** Ranges under other random numbers, in case one is in use. */
const UNIQUE_LOCAL_RANGES = 3;

const SEARCHES: Readonly<Record<Family, Search>> = {
  4: { length: 24, ranges: () => PRIVATE_RANGES },
  6: {
    length: 64,
    ranges: (randomBytes) => Array.from({ length: UNIQUE_LOCAL_RANGES }, () => uniqueLocal(randomBytes)),
  },
};

/** The requested subnet after its checks, or a free one. Throws ConfigError and ConflictError. */
export function chooseSubnet(
  family: Family,
  request: PoolRequest,
  used: readonly UsedRange[],
  randomBytes: RandomBytes,
): Prefix {
  const { subnet } = request;
  if (subnet === null) {
    if (request.allocation !== null || request.gateway !== null || request.excluded.length > 0)
      throw new ConfigError(
        "a range, a gateway or an excluded address needs a subnet: give the subnet as well",
      );
    return freeSubnet(family, used, randomBytes);
  }
  if (subnet.family !== family)
    throw new ConfigError(`subnet ${subnet} is not an IPv${family} prefix; give one of that family`);
  const problem = subnetProblem(subnet);
  if (problem !== null) throw new ConfigError(`${problem}; choose another subnet`);
  const met = used.find(({ prefix }) => prefix.overlaps(subnet));
  if (met !== undefined)
    throw new ConflictError(
      `subnet ${subnet} overlaps ${met.prefix} (${met.title}); choose another subnet, or none for a free one`,
    );
  return subnet;
}

/** The pool in `subnet`; what the request leaves open is chosen. Throws ConfigError. */
export function poolOf(subnet: Prefix, { allocation, gateway, excluded }: PoolRequest): Pool {
  const pool = {
    subnet,
    allocation: allocation ?? subnet,
    gateway: gateway ?? subnet.base.plus(1),
    excluded,
  };
  const problem = poolProblem(pool);
  if (problem !== null) throw new ConfigError(`${problem}; correct the request`);
  return pool;
}

function freeSubnet(family: Family, used: readonly UsedRange[], randomBytes: RandomBytes): Prefix {
  const taken = used.filter(({ prefix }) => prefix.family === family).map(({ prefix }) => prefix);
  taken.sort((a, b) => (a.base.value < b.base.value ? -1 : 1));
  const { length, ranges } = SEARCHES[family];
  const searched = ranges(randomBytes);
  for (const range of searched) {
    const subnet = firstFree(range, length, taken);
    if (subnet !== null) return subnet;
  }
  throw new ConflictError(`no free IPv${family} range in ${searched.join(", ")}; give a subnet`);
}

/** One sweep over the ranges in the order of their bases. */
function firstFree(range: Prefix, length: number, taken: readonly Prefix[]): Prefix | null {
  const step = Prefix.of(range.base, length).size;
  let base = range.base.value;
  for (const prefix of taken) {
    if (prefix.last.value < base) continue;
    if (prefix.base.value >= base + step) break;
    base = ((prefix.last.value + step) / step) * step;
  }
  if (base + step - 1n > range.last.value) return null;
  return Prefix.of(Address.of(range.family, base), length);
}

/** fd00::/8 with 40 random bits, the global identifier (RFC 4193 §3.1). */
function uniqueLocal(randomBytes: RandomBytes): Prefix {
  const bytes = new Uint8Array(16);
  bytes[0] = 0xfd;
  bytes.set(randomBytes(5), 1);
  return Prefix.of(Address.fromBytes(bytes), 48);
}
