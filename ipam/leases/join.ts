/**
 * How a host gets its lease: finds the one it had, adopts it, or creates one in a free subnet.
 *
 * Every write is a compare-and-swap, and no subnet is used before a second look at the store has shown that no
 * older lease overlaps it. Owns no kernel state.
 */

import { entriesOf, type Family, type PerFamily, type Prefix } from "../addresses/ip.ts";
import {
  type AddressSpan,
  describeLocal,
  type LocalPrefix,
  LocalPrefixes,
  localAddress,
} from "../addresses/local-prefixes.ts";
import { OverlapIndex } from "../addresses/overlap-index.ts";
import type { Clock } from "../clock.ts";
import { type FamilyNetwork, mayBeLeased, type NetworkConfig } from "../config/network-config.ts";
import { ConfigError, LeaseLostError, NoFreeSubnetError, SubnetTakenError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { NetworkStore, StoreEntry, StoreListing } from "../stores/contracts.ts";
import { readAffinities } from "./affinity.ts";
import { type CandidateInput, candidates, fits, fitsInPart, leaseSpan } from "./candidates.ts";
import { claimOn, mayName, takeoverBy } from "./claim.ts";
import type { ClaimRequest, Membership } from "./claimer.ts";
import type { LeaseAttrs, LeaseKey } from "./lease.ts";
import {
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseValueOrNull,
  readCanonicalKey,
  readStrayKey,
} from "./lease-codec.ts";
import { suspects } from "./suspect-keys.ts";
import { withdrawLease } from "./withdrawal.ts";

export interface AllocationOptions {
  readonly store: Pick<NetworkStore, "feed" | "leases" | "records">;
  readonly ttlSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type JoinOptions = AllocationOptions & ClaimRequest;

type Found = Omit<Membership, "givenUp">;

/** After so many lost races something else is wrong. */
const MAX_ROUNDS = 20;

/**
 * Joins the network as of `listing`. Throws NoFreeSubnetError, StoreError, or ConfigError when the network's
 * configuration leaves the kind of backend open although hosts of another kind live in it.
 */
export async function join(
  options: JoinOptions,
  listing: StoreListing,
  signal: AbortSignal,
): Promise<Membership> {
  refuseForeignBackend(options.config, listing);
  const givenUp: LeaseKey[] = [];
  let current = listing;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    try {
      const replaced: OwnEntry[] = [];
      const own = await takeOwn(options, current, givenUp, replaced, signal);
      const found = own ?? (await createNew(options, without(current, givenUp), signal, givenUp));
      for (const each of replaced) await giveUp(options, each, signal);
      return { ...found, givenUp };
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error;
      options.logger.debug("a lease of ours changed while it was taken", { error: error.message });
    }
    current = await options.store.feed.list(signal);
  }
  throw new NoFreeSubnetError(
    `no subnet could be leased in ${MAX_ROUNDS} rounds because others changed our lease each time; look for a second host with our node id or public address`,
    { retryable: true },
  );
}

/** Fails as join would when no subnet is free for this host; writes nothing. Throws NoFreeSubnetError and StoreError. */
export async function requireSubnet(
  options: JoinOptions,
  listing: StoreListing,
  signal: AbortSignal,
): Promise<void> {
  const own = findOwn(listing, options);
  if (own.some((each) => isUsable(each, options, listing))) return;
  const keys = own.map(({ entry }) => entry.key);
  const input = await candidateInput(options, without(listing, keys), keys, signal);
  candidates(input).next();
}

/**
 * A lease of ours is still there: the node id says so, or, where there is none, the public address. One that no
 * longer fits the network, or that overlaps an older one, is added to `givenUp`, and to `replaced` for deletion once this
 * host has another one: without that, peers keep it. Throws LeaseLostError when the listing is out of date.
 */
async function takeOwn(
  options: JoinOptions,
  listing: StoreListing,
  givenUp: LeaseKey[],
  replaced: OwnEntry[],
  signal: AbortSignal,
): Promise<Found | null> {
  let membership: Found | null = null;
  for (const own of findOwn(listing, options)) {
    // One that is to be deleted does not count: an earlier try may have created its successor.
    const rivals = without(
      listing,
      replaced.map(({ entry }) => entry.key),
    );
    if (membership === null && isUsable(own, options, rivals)) {
      membership = await hold(options, own, signal);
    } else if (membership === null || own.isOurs) {
      replaced.push(own);
      givenUp.push(own.entry.key);
    }
  }
  return membership;
}

function isUsable(own: OwnEntry, { config }: JoinOptions, { entries }: StoreListing): boolean {
  return fits(own.subnets, config.families) && olderRival(own, entries, networksOf(config)) === null;
}

/** Deletes a lease that another one of ours replaces: peers keep the host where the other one has a part of it. */
async function giveUp(
  { store, config, logger }: JoinOptions,
  { entry, subnets }: OwnEntry,
  signal: AbortSignal,
): Promise<void> {
  logger.warn("a lease of ours cannot be used and is given up", { key: entry.key });
  const isKeptInPart = !fits(subnets, config.families) && fitsInPart(subnets, config.families);
  if (isKeptInPart) await store.leases.remove(entry, signal);
  else await withdrawLease(store.leases, entry, signal);
}

interface OwnEntry {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** False for a lease that was found by the public address alone. */
  readonly isOurs: boolean;
}

/** Leases with our node id first, then those with our address; the oldest of each first. */
function findOwn({ entries }: StoreListing, { attrs, isRenumbering = false }: JoinOptions): OwnEntry[] {
  const found: OwnEntry[] = [];
  // Every agent writes the id and the address in this form, and decoding thousands of values takes time.
  const marks = [attrs.nodeId, ...Object.values(attrs.publicAddress)].flatMap(
    (mark) => mark?.toString() ?? [],
  );
  for (const entry of entries) {
    if (!marks.some((mark) => entry.value.includes(mark))) continue;
    const theirs = mayName(entry.value, attrs) ? parseLeaseValueOrNull(entry.value) : null;
    if (theirs === null) continue;
    const claim = claimOn(theirs, attrs);
    if (claim === "foreign" || (isRenumbering && takeoverBy(theirs, attrs) !== null)) continue;
    const subnets = readCanonicalKey(entry.key);
    if (subnets === null) continue;
    found.push({ entry, subnets, isOurs: claim === "ours" });
  }
  return found.sort(
    (a, b) => Number(b.isOurs) - Number(a.isOurs) || Number(a.entry.createRevision - b.entry.createRevision),
  );
}

/** Publishes our attributes in the found lease, which lasts its full time from now. */
async function hold(
  options: JoinOptions,
  { entry, subnets, isOurs }: OwnEntry,
  signal: AbortSignal,
): Promise<Found> {
  const { store, attrs, ttlSeconds, clock, logger } = options;
  const value = formatLeaseValue(attrs);
  const origin = isOurs ? "kept" : "adopted";
  const isReservation = entry.storeLeaseId === null;
  if (!isOurs) sayAdoption(entry, logger);
  let current = entry;
  let sinceMs = clock.monotonicMs();
  if (isOurs || isReservation) {
    // A lease of ours keeps its store lease, so that restarts leave none behind; a reservation stays one.
    if (entry.value !== value) current = await store.leases.replace(entry, value, null, signal);
    if (isReservation) return { entry: current, subnets, deadlineMs: Number.POSITIVE_INFINITY, origin };
    sinceMs = clock.monotonicMs();
    const seconds = await store.leases.keepAlive(current, signal);
    if (isAboutEqual(seconds, ttlSeconds)) {
      return { entry: current, subnets, deadlineMs: sinceMs + seconds * 1000, origin };
    }
    sinceMs = clock.monotonicMs();
  }
  current = await store.leases.replace(current, value, ttlSeconds, signal);
  return { entry: current, subnets, deadlineMs: sinceMs + ttlSeconds * 1000, origin };
}

/** Without a node id it is flanneld's, of this host; with one its host may be alive. */
function sayAdoption(entry: StoreEntry, logger: Logger): void {
  const nodeId = parseLeaseValueOrNull(entry.value)?.nodeId ?? null;
  if (nodeId === null) logger.info("lease with our public address is adopted", { key: entry.key });
  else {
    logger.warn(
      "lease of another node id with our public address is adopted; if that host is alive, give one of the two another -public-ip",
      { key: entry.key, nodeId },
    );
  }
}

/** Stores round times to live, and raise short ones by a little. */
function isAboutEqual(seconds: number, wantedSeconds: number): boolean {
  return Math.abs(seconds - wantedSeconds) <= Math.max(2, wantedSeconds / 10);
}

function without({ entries, ...listing }: StoreListing, keys: readonly LeaseKey[]): StoreListing {
  return { ...listing, entries: entries.filter(({ key }) => !keys.includes(key)) };
}

/** `givenUp` are leases that this host is about to delete: of their subnets it keeps what the network still has. */
async function createNew(
  options: JoinOptions,
  listing: StoreListing,
  signal: AbortSignal,
  givenUp: readonly LeaseKey[] = [],
): Promise<Found> {
  const { store, config, previous, ttlSeconds, clock, logger } = options;
  const input = await candidateInput(options, listing, givenUp, signal);
  for (const subnets of candidates(input)) {
    const key = formatLeaseKey(subnets);
    const sinceMs = clock.monotonicMs();
    const entry = await createOrNull(options, key, signal);
    const others = await store.leases.listCreatedAfter(listing.revision, signal);
    if (entry !== null && olderRival({ entry, subnets }, others, networksOf(config)) === null) {
      const isPrevious = previous !== null && formatLeaseKey(previous) === key;
      const origin = isPrevious ? "previous subnet" : "new subnet";
      return { entry, subnets, deadlineMs: sinceMs + ttlSeconds * 1000, origin };
    }
    logger.info("another host leased the subnet, or one that overlaps it, first; trying another", { key });
    if (entry !== null) await withdrawLease(store.leases, entry, signal);
    take(
      others.filter((other) => other.key !== entry?.key),
      networksOf(config),
      input.taken,
    );
  }
  throw new TypeError("candidates end by throwing");
}

/** What this host may lease. `givenUp` as in createNew. */
async function candidateInput(
  { store, attrs, config, previous, local }: JoinOptions,
  listing: StoreListing,
  givenUp: readonly LeaseKey[],
  signal: AbortSignal,
): Promise<CandidateInput & { readonly taken: OverlapIndex<string> }> {
  const taken = new OverlapIndex<string>();
  take(listing.entries, networksOf(config), taken);
  const reached = new LocalPrefixes([...local, ...publicAddresses(listing.entries, attrs)], spans(config));
  const affinities = await readAffinities(store.records, attrs.nodeId, signal);
  const former = givenUp.map(readCanonicalKey).filter((subnets) => subnets !== null);
  const wishes = [...former, ...(previous === null ? [] : [previous]), ...affinities.own];
  return {
    families: config.families,
    taken,
    isAvoided: (subnets: PerFamily<Prefix>) => reached.overlapping(subnets) !== null,
    avoided: (span: AddressSpan) => reached.inside(span).map(describeLocal),
    suspects: (network: FamilyNetwork) => suspects(listing.entries, network),
    // The bridges of this host's own containers have the subnet that it had.
    wishes: wishes.filter((subnets) => reached.overlappingOwn(subnets) === null),
    used: affinities.used,
    seed: attrs.nodeId ?? "",
  };
}

async function createOrNull(
  { store, attrs, ttlSeconds }: JoinOptions,
  key: string,
  signal: AbortSignal,
): Promise<StoreEntry | null> {
  try {
    return await store.leases.create(key, formatLeaseValue(attrs), ttlSeconds, signal);
  } catch (error) {
    if (error instanceof SubnetTakenError) return null;
    throw error;
  }
}

/** Other hosts' public addresses, which a subnet must not cover. */
function publicAddresses(entries: readonly StoreEntry[], own: LeaseAttrs): LocalPrefix[] {
  return entries.flatMap((entry) => {
    const theirs = parseLeaseValueOrNull(entry.value);
    if (theirs === null || claimOn(theirs, own) !== "foreign") return [];
    return entriesOf(theirs.publicAddress).map(([, address]) =>
      localAddress(address, "peer", `the host of lease ${entry.key}`),
    );
  });
}

/** The addresses that the network can lease. */
function spans({ families }: NetworkConfig): AddressSpan[] {
  return entriesOf(families).map(([, family]) => leaseSpan(family));
}

/** The subnet of a key is taken, whatever its value, because flanneld routes to it. */
function take(
  entries: readonly StoreEntry[],
  networks: readonly Prefix[],
  taken: OverlapIndex<string>,
): void {
  for (const { key } of entries) {
    for (const [, subnet] of leasable(key, networks)) taken.set(subnet, key);
  }
}

/**
 * The subnets that a key takes from one of the networks. One that no host can have takes none: flanneld routes to it too,
 * but the routes to leases inside it are more specific.
 */
function leasable(key: LeaseKey, networks: readonly Prefix[]): [Family, Prefix][] {
  return [...entriesOf(readStrayKey(key) ?? {})].filter(([, subnet]) =>
    networks.some((network) => mayBeLeased(subnet, network)),
  );
}

function networksOf({ families }: NetworkConfig): readonly Prefix[] {
  return [...entriesOf(families)].map(([, { network }]) => network);
}

/**
 * Of leases that overlap, the one with the lowest create revision stays, on all hosts alike. Returns an
 * entry that is older than `own` and overlaps it, null when there is none. `networks` as in leasable.
 */
export function olderRival(
  own: { readonly entry: StoreEntry; readonly subnets: PerFamily<Prefix> },
  others: readonly StoreEntry[],
  networks: readonly Prefix[],
): StoreEntry | null {
  const rival = others.find((other) => {
    if (other.key === own.entry.key || other.createRevision > own.entry.createRevision) return false;
    return leasable(other.key, networks).some(([family, subnet]) => own.subnets[family]?.overlaps(subnet));
  });
  return rival ?? null;
}

/** flanneld without a Backend runs udp; such hosts and VXLAN hosts do not reach each other. */
function refuseForeignBackend(config: NetworkConfig, { entries }: StoreListing): void {
  if (config.backend.isExplicit) return;
  // A reservation may hold no more than an address: only leases of running hosts count.
  const foreign = entries.find(
    (entry) => entry.storeLeaseId !== null && parseLeaseValueOrNull(entry.value)?.backendType === "",
  );
  if (foreign === undefined) return;
  throw new ConfigError(
    `network config has no Backend, and lease ${foreign.key} has no BackendType, as flanneld's udp backend writes it; write Backend {"Type":"udp"} into the config if the network's hosts run flanneld, which takes none for udp, or else Backend {"Type":"vxlan"}`,
    { details: { key: foreign.key } },
  );
}
