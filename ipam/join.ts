/**
 * How a host gets its lease: finds the one it had, adopts it, or creates one in a free subnet.
 *
 * Every write is a compare-and-swap, and no subnet is used before a second look at the store has shown that no
 * older lease overlaps it. Owns no kernel state.
 */

import { candidates, fits } from "./candidates.ts";
import { ConfigError, LeaseLostError, NoFreeSubnetError, SubnetTakenError } from "./errors.ts";
import { entriesOf, type PerFamily, type Prefix } from "./ip.ts";
import type { LeaseAttrs } from "./lease.ts";
import { formatLeaseKey, formatLeaseValue, parseLeaseValue, readStrayKey } from "./lease-codec.ts";
import type { Logger } from "./log.ts";
import type { NetworkConfig } from "./network-config.ts";
import { OverlapIndex } from "./overlap-index.ts";
import type { StoreEntry, StoreListing, SubnetStore } from "./store.ts";

export interface JoinOptions {
  readonly store: SubnetStore;
  readonly config: NetworkConfig;
  readonly attrs: LeaseAttrs;
  /** The subnets of the last run, null when unknown or of another network. */
  readonly previous: PerFamily<Prefix> | null;
  readonly ttlSeconds: number;
  readonly logger: Logger;
}

/** Our lease, in the store. */
export interface Membership {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** How we came by it, for the log. */
  readonly origin: "kept" | "adopted" | "previous subnet" | "new subnet";
}

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
  let current = listing;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const membership =
      (await takeOwn(options, current, signal)) ?? (await createNew(options, current, signal));
    if (membership !== null) return membership;
    current = await options.store.list(signal);
  }
  throw new NoFreeSubnetError(
    `no subnet could be leased in ${MAX_ROUNDS} rounds because other hosts took each one first; try again`,
    { retryable: true },
  );
}

/** A lease of ours is still there: the node id says so, or, where there is none, the public address. */
async function takeOwn(
  options: JoinOptions,
  listing: StoreListing,
  signal: AbortSignal,
): Promise<Membership | null> {
  const { store, attrs, config, ttlSeconds, logger } = options;
  const found = findOwn(listing, attrs);
  if (found === null) return null;
  const { entry, subnets, isOurs } = found;
  try {
    if (!fits(subnets, config.families)) {
      logger.info("our lease does not fit the network's configuration and is given up", { key: entry.key });
      await store.remove(entry, signal);
      return null;
    }
    // A reservation has no store lease and stays one; anything else gets a fresh one of ours.
    const ttl = entry.storeLeaseId === null ? null : ttlSeconds;
    const renewed = await store.replace(entry, formatLeaseValue(attrs), ttl, signal);
    return { entry: renewed, subnets, origin: isOurs ? "kept" : "adopted" };
  } catch (error) {
    if (error instanceof LeaseLostError) return null;
    throw error;
  }
}

interface OwnEntry {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** False for a lease that was found by the public address alone. */
  readonly isOurs: boolean;
}

function findOwn({ entries }: StoreListing, attrs: LeaseAttrs): OwnEntry | null {
  let adoptable: OwnEntry | null = null;
  for (const entry of entries) {
    const subnets = readStrayKey(entry.key);
    if (subnets === null || formatLeaseKey(subnets) !== entry.key) continue;
    const theirs = attrsOf(entry);
    if (theirs === null) continue;
    if (theirs.nodeId !== null && theirs.nodeId === attrs.nodeId) return { entry, subnets, isOurs: true };
    if (hasSameAddress(theirs, attrs)) adoptable ??= { entry, subnets, isOurs: false };
  }
  return adoptable;
}

async function createNew(
  options: JoinOptions,
  listing: StoreListing,
  signal: AbortSignal,
): Promise<Membership | null> {
  const { store, attrs, config, previous, ttlSeconds, logger } = options;
  const taken = new OverlapIndex<string>();
  for (const { key } of listing.entries) {
    for (const [, subnet] of entriesOf(readStrayKey(key) ?? {})) taken.set(subnet, key);
  }
  const input = { families: config.families, taken, previous, nodeId: attrs.nodeId ?? "" };
  for (const subnets of candidates(input)) {
    const key = formatLeaseKey(subnets);
    try {
      const entry = await store.create(key, formatLeaseValue(attrs), ttlSeconds, signal);
      if (await isFirst(store, entry, subnets, listing.revision, signal)) {
        return { entry, subnets, origin: subnets === previous ? "previous subnet" : "new subnet" };
      }
      logger.info("another host leased an overlapping subnet first; trying another", { key });
      await store.remove(entry, signal);
      return null;
    } catch (error) {
      if (!(error instanceof SubnetTakenError)) throw error;
      logger.debug("subnet was taken in the meantime", { key });
    }
  }
  return null;
}

/** Of two leases that overlap the one with the lower create revision stays. */
async function isFirst(
  store: SubnetStore,
  entry: StoreEntry,
  subnets: PerFamily<Prefix>,
  since: bigint,
  signal: AbortSignal,
): Promise<boolean> {
  const rivals = await store.listCreatedAfter(since, signal);
  return !rivals.some((rival) => {
    if (rival.key === entry.key || rival.createRevision > entry.createRevision) return false;
    const theirs = readStrayKey(rival.key) ?? {};
    return [...entriesOf(theirs)].some(([family, subnet]) => subnets[family]?.overlaps(subnet));
  });
}

/** flanneld without a Backend runs udp; such hosts and VXLAN hosts would talk past each other. */
function refuseForeignBackend(config: NetworkConfig, { entries }: StoreListing): void {
  if (config.backend.isExplicit) return;
  const foreign = entries.find((entry) => attrsOf(entry)?.backendType === "");
  if (foreign === undefined) return;
  throw new ConfigError(
    `network config has no Backend, and lease ${foreign.key} has no BackendType, as flanneld's udp backend writes it; write Backend {"Type":"vxlan"} (or the type that the hosts use) into the config`,
  );
}

function attrsOf(entry: StoreEntry): LeaseAttrs | null {
  try {
    return parseLeaseValue(entry.value);
  } catch {
    return null; // a damaged value is nobody's; the peer table reports it
  }
}

function hasSameAddress(a: LeaseAttrs, b: LeaseAttrs): boolean {
  const address = a.publicAddress[4] ?? a.publicAddress[6];
  if (address === undefined) return false;
  return b.publicAddress[address.family]?.equals(address) ?? false;
}
