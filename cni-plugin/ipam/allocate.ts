/**
 * Chooses and frees addresses of the host's subnet. Callers hold the lock of the network's folder.
 *
 * Round robin: a container that crashes in a loop does not see its address again before all others were used.
 */

import { Address, type Prefix } from "../../ipam/addresses/ip.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import { type Allocation, type IpamConfig, type RangeSet, rangeOf } from "./ranges.ts";
import { type Attachment, isHeldBy, type Reservation, type Reservations } from "./reservations.ts";

/**
 * One address of each range set, all or none. Throws CniError 7 for a requested address that cannot be given and
 * 101 when a set has none left.
 */
export function allocate(
  config: IpamConfig,
  store: Reservations,
  attachment: Attachment,
): readonly Allocation[] {
  requireUnattached(store, attachment);
  requireInRange(config);
  requireOneEach(config);
  const reserved = store.list();
  const taken = new Set(reserved.map(({ address }) => String(address)));
  try {
    return config.rangeSets.map((set, index) => allocateFrom(set, index, config, store, attachment, taken));
  } catch (error) {
    release(store, attachment);
    throw error;
  }
}

/** Refuses a second ADD without a DEL between them. Throws CniError 7. */
export function requireUnattached(store: Reservations, attachment: Attachment): void {
  const [held] = heldBy(store, attachment);
  if (held === undefined) return;
  throw new CniError(
    CNI_CODES.invalidConfig,
    `${held.address} is already given to ${attachment.containerId} ${attachment.interfaceName}; delete it first`,
  );
}

/** Succeeds when every range set has an address left. Throws CniError 101. */
export function requireRoom(config: IpamConfig, store: Reservations): void {
  const taken = new Set(store.list().map(({ address }) => String(address)));
  for (const [index, set] of config.rangeSets.entries()) {
    const free = nextFree(set, store.lastReserved(index), config.excluded, taken);
    if (free === null) throw exhausted(set, config.excluded, taken);
  }
}

/** What the attachment holds. */
export function heldBy(store: Reservations, attachment: Attachment): readonly Reservation[] {
  return store.list().filter((reservation) => isHeldBy(reservation, attachment));
}

/** Frees everything that the attachment holds and answers what that was; nothing held is a success. */
export function release(store: Reservations, attachment: Attachment): readonly Address[] {
  const held = heldBy(store, attachment);
  for (const { address } of held) store.release(address);
  store.discardUnfinished();
  return held.map(({ address }) => address);
}

function allocateFrom(
  set: RangeSet,
  index: number,
  config: IpamConfig,
  store: Reservations,
  attachment: Attachment,
  taken: ReadonlySet<string>,
): Allocation {
  const requested = config.requested.find((address) => rangeOf(set, address) !== undefined);
  const address = requested ?? nextFree(set, store.lastReserved(index), config.excluded, taken);
  if (address === null) throw exhausted(set, config.excluded, taken);
  if (!store.reserve(address, attachment)) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `the requested address ${address} is in use; ask for another`,
    );
  }
  store.setLastReserved(index, address);
  const range = rangeOf(set, address);
  if (range === undefined) throw new CniError(CNI_CODES.internal, `${address} is in none of its ranges`);
  return { address: { address, length: range.subnet.length }, gateway: range.gateway };
}

function requireInRange({ requested, rangeSets }: IpamConfig): void {
  for (const address of requested) {
    const range = rangeSets.map((set) => rangeOf(set, address)).find((found) => found !== undefined);
    const reason = range === undefined ? "is in no range" : "is the subnet's gateway";
    if (range === undefined || range.gateway.equals(address)) {
      throw new CniError(
        CNI_CODES.invalidConfig,
        `the requested address ${address} ${reason}; ask for another`,
      );
    }
  }
}

/** A set gives one address: of two that are asked for, the second one would be forgotten without a word. */
function requireOneEach({ requested, rangeSets }: IpamConfig): void {
  for (const set of rangeSets) {
    const [, second] = requested.filter((address) => rangeOf(set, address) !== undefined);
    if (second === undefined) continue;
    throw new CniError(
      CNI_CODES.invalidConfig,
      `the requested address ${second} cannot be given as well: a range set gives one; ask for one`,
    );
  }
}

/** The first free address after `last`, once around; null when there is none. */
function nextFree(
  set: RangeSet,
  last: Address | null,
  excluded: readonly Prefix[],
  taken: ReadonlySet<string>,
): Address | null {
  for (const address of rotation(set, last)) {
    const isGateway = rangeOf(set, address)?.gateway.equals(address) === true;
    const isExcluded = excluded.some((prefix) => prefix.contains(address));
    if (!isGateway && !isExcluded && !taken.has(String(address))) return address;
  }
  return null;
}

/** Every address of the set once, from the one behind `last`. */
function* rotation(set: RangeSet, last: Address | null): Generator<Address> {
  const start = last === null ? -1 : set.findIndex((range) => rangeOf([range], last) !== undefined);
  const current = set[start];
  if (last === null || current === undefined) {
    for (const range of set) yield* between(range.first, range.last);
    return;
  }
  if (last.value < current.last.value) yield* between(last.plus(1), current.last);
  for (const range of [...set.slice(start + 1), ...set.slice(0, start)])
    yield* between(range.first, range.last);
  yield* between(current.first, last);
}

function* between(first: Address, last: Address): Generator<Address> {
  for (let value = first.value; value <= last.value; value++) yield Address.of(first.family, value);
}

function exhausted(set: RangeSet, excluded: readonly Prefix[], taken: ReadonlySet<string>): CniError {
  const text = set.map(({ first, last }) => `${first}-${last}`).join(", ");
  const total = set.reduce((sum, { first, last }) => sum + last.value - first.value + 1n, 0n);
  const used = [...taken].filter((address) => rangeOf(set, Address.parse(address)) !== undefined).length;
  return new CniError(
    CNI_CODES.noFreeAddress,
    `no free address in ${text}: of ${total} addresses ${used} are given to containers, the rest is the gateway or excluded`,
    `exclusions: ${excluded.join(", ") || "none"}; "tulle cni ipam check" finds reservations of containers that are gone`,
  );
}
