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

/** Where IPv4 ranges are looked for, in this order. */
const AUTOMATIC_RANGES = ["10.128.0.0/9", "10.0.0.0/9", "100.64.0.0/10"].map(Prefix.parse);
const AUTOMATIC_LENGTH: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };

/** Tries of random IPv6 ranges: of 2^56 hardly one is in use. */
const TRIES = 100;

/** The requested subnet after its checks, or a free one. Throws ConfigError and ConflictError. */
export function chooseSubnet(
  family: Family,
  request: PoolRequest,
  used: readonly UsedRange[],
  randomBytes: (count: number) => Uint8Array,
): Prefix {
  const { subnet } = request;
  if (subnet === null) {
    if (request.allocation !== null || request.gateway !== null || request.excluded.length > 0)
      throw new ConfigError(
        "a range, a gateway or an excluded address needs a subnet: give the subnet as well",
      );
    return family === 4 ? freeV4Subnet(used) : freeV6Subnet(used, randomBytes);
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

function freeV4Subnet(used: readonly UsedRange[]): Prefix {
  const taken = used.filter(({ prefix }) => prefix.family === 4).map(({ prefix }) => prefix);
  taken.sort((a, b) => (a.base.value < b.base.value ? -1 : 1));
  for (const range of AUTOMATIC_RANGES) {
    const subnet = firstFree(range, AUTOMATIC_LENGTH[4], taken);
    if (subnet !== null) return subnet;
  }
  throw new ConflictError(`no free IPv4 range in ${AUTOMATIC_RANGES.join(", ")}; give a subnet`);
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

/** RFC 4193 §3.2: fd00::/8, then random bits for the global and the subnet identifier. */
function freeV6Subnet(used: readonly UsedRange[], randomBytes: (count: number) => Uint8Array): Prefix {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const bytes = new Uint8Array(16);
    bytes.set(randomBytes(7), 1);
    bytes[0] = 0xfd;
    const subnet = Prefix.of(Address.fromBytes(bytes), AUTOMATIC_LENGTH[6]);
    if (!used.some(({ prefix }) => prefix.overlaps(subnet))) return subnet;
  }
  throw new ConflictError("no free IPv6 range in fd00::/8; give a subnet");
}
