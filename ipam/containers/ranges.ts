/**
 * Ranges of addresses for containers, and the choice of one. Pure.
 *
 * Round robin: a container that crashes in a loop does not see its address again before all others were used.
 */

import { Address, type InterfaceAddress, type Prefix } from "../addresses/ip.ts";
import { ConfigError, NoFreeAddressError } from "../errors.ts";

export interface AddressRange {
  readonly subnet: Prefix;
  readonly first: Address;
  readonly last: Address;
  readonly gateway: Address;
}

/** One address family; a container gets one address of each set. */
export type RangeSet = readonly AddressRange[];

export interface AddressRequest {
  readonly rangeSets: readonly RangeSet[];
  /** Never given. */
  readonly excluded: readonly Prefix[];
  /** Addresses that the caller asks for, at most one of each set. */
  readonly requested: readonly Address[];
}

/** An address that was given, with its subnet's length and gateway. */
export interface Allocation {
  readonly address: InterfaceAddress;
  readonly gateway: Address;
}

/** The range of the set that holds `address`. */
export function rangeOf(set: RangeSet, address: Address): AddressRange | undefined {
  return set.find(
    (range) =>
      range.subnet.contains(address) &&
      range.first.value <= address.value &&
      address.value <= range.last.value,
  );
}

/** Throws ConfigError for a requested address that no range set can give. */
export function requireObtainable(request: AddressRequest): void {
  const { requested, rangeSets } = request;
  for (const address of requested) {
    const reason = whyUnobtainable(address, request);
    if (reason !== null) throw new ConfigError(`the requested address ${address} ${reason}; ask for another`);
  }
  for (const set of rangeSets) {
    const [, second] = requested.filter((address) => rangeOf(set, address) !== undefined);
    if (second === undefined) continue;
    throw new ConfigError(
      `the requested address ${second} cannot be given as well: a range set gives one; ask for one`,
    );
  }
}

function whyUnobtainable(address: Address, { rangeSets, excluded }: AddressRequest): string | null {
  const range = rangeSets.map((set) => rangeOf(set, address)).find((found) => found !== undefined);
  if (range === undefined) return "is in no range";
  if (range.gateway.equals(address)) return "is the subnet's gateway";
  const exclusion = excluded.find((prefix) => prefix.contains(address));
  return exclusion === undefined ? null : `is excluded by ${exclusion}`;
}

/**
 * The address of `set` to give next: the requested one, else the first free one after `last`, once around. `taken` holds
 * addresses as text. Throws ConfigError when the requested one is taken and NoFreeAddressError when none is left.
 */
export function chooseAddress(
  set: RangeSet,
  { requested, excluded }: AddressRequest,
  last: Address | null,
  taken: ReadonlySet<string>,
): Allocation {
  const wanted = requested.find((address) => rangeOf(set, address) !== undefined);
  if (wanted !== undefined && taken.has(String(wanted))) {
    throw new ConfigError(`the requested address ${wanted} is in use; ask for another`);
  }
  const address = wanted ?? nextFree(set, last, excluded, taken);
  const range = address === null ? undefined : rangeOf(set, address);
  if (address === null || range === undefined) throw exhausted(set, excluded, taken);
  return { address: { address, length: range.subnet.length }, gateway: range.gateway };
}

function nextFree(
  set: RangeSet,
  last: Address | null,
  excluded: readonly Prefix[],
  taken: ReadonlySet<string>,
): Address | null {
  for (const { first, last: end } of rotation(set, last)) {
    for (let address = first; address.value <= end.value; ) {
      const exclusion = excluded.find((prefix) => prefix.contains(address));
      const isGateway = rangeOf(set, address)?.gateway.equals(address) === true;
      if (exclusion === undefined && !isGateway && !taken.has(String(address))) return address;
      // An exclusion of IPv6 can have more addresses than a loop ever visits.
      const tried = exclusion?.last ?? address;
      if (tried.value >= end.value) break;
      address = tried.plus(1);
    }
  }
  return null;
}

/** Addresses in a row, both ends included. */
type Span = Pick<AddressRange, "first" | "last">;

/** Every address of the set once, from the one after `last`. */
function* rotation(set: RangeSet, last: Address | null): Generator<Span> {
  const start = last === null ? -1 : set.findIndex((range) => rangeOf([range], last) !== undefined);
  const current = set[start];
  if (last === null || current === undefined) {
    yield* set;
    return;
  }
  if (last.value < current.last.value) yield { first: last.plus(1), last: current.last };
  yield* set.slice(start + 1);
  yield* set.slice(0, start);
  yield { first: current.first, last };
}

function exhausted(
  set: RangeSet,
  excluded: readonly Prefix[],
  taken: ReadonlySet<string>,
): NoFreeAddressError {
  const text = set.map(({ first, last }) => `${first}-${last}`).join(", ");
  const total = set.reduce((sum, { first, last }) => sum + last.value - first.value + 1n, 0n);
  const used = [...taken].filter((address) => rangeOf(set, Address.parse(address)) !== undefined).length;
  return new NoFreeAddressError(
    `no free address in ${text}: of ${total} addresses ${used} are given to containers, the rest is the gateway or excluded`,
    {
      details: {
        remedy: `exclusions: ${excluded.join(", ") || "none"}; "tulle cni ipam check" finds reservations of containers that are gone`,
      },
    },
  );
}
