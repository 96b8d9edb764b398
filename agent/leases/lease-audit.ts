/**
 * Validates all leases of a network as a daemon that joins now would, and gives the reason for each rejection.
 *
 * Pure: a listing in, rows out. It uses the peer table and the network's backend, so the result is what daemons reject.
 */

import type { MixedBackend } from "../../backends/mixed.ts";
import { type Address, entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../ipam/addresses/local-prefixes.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import type { Lease, LeaseAttrs, LeaseKey } from "../../ipam/leases/lease.ts";
import { decodeEntry, isFolderKey, readStrayKey } from "../../ipam/leases/lease-codec.ts";
import { PeerTable } from "../../ipam/leases/peer-table.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { StoreEntry, StoreListing } from "../../ipam/stores/contracts.ts";
import { explainRejection, prepareForAnyHost } from "../network/network-support.ts";

export interface AuditedLease {
  readonly key: LeaseKey;
  readonly entry: StoreEntry;
  /** What the key names, also where it is badly written; null when it names no subnet. */
  readonly subnets: PerFamily<Prefix> | null;
  /** Null when the key or the value cannot be read. */
  readonly attrs: LeaseAttrs | null;
  /** What the backend tells hosts apart by: tunnel MACs or keys. */
  readonly identities: readonly string[];
  /** The key never expires. */
  readonly isReservation: boolean;
  /** It asks peers to use the backend of the configuration, which can use it. */
  readonly hasPresentBackend: boolean;
  /** A reservation whose host has not joined yet. */
  readonly isUnclaimed: boolean;
  /** Why daemons do not use it, in one sentence; null when they do. */
  readonly problem: string | null;
}

export interface Audit {
  readonly leases: readonly AuditedLease[];
  /** Null when there is none, or none that can be used. */
  readonly config: NetworkConfig | null;
  /** What is wrong with the network configuration; null when it is good. */
  readonly configProblem: string | null;
}

/** What a command that needs the network configuration says where there is none. */
export const NO_CONFIG = "the network has no configuration: write one with tulle net init";

/** A member of the network that audits it, for what only this host can see. */
export interface AuditingHost {
  readonly own: Lease;
  /** What it reaches without the network. */
  readonly local: readonly LocalPrefix[];
}

/** Judges every entry of a listing as a daemon does; in the order of the subnets. `host` is null for no member. */
export function auditLeases(listing: StoreListing, host: AuditingHost | null = null): Audit {
  const readable = readConfig(listing.config);
  const { config, backend, problem } = readable;
  const reject = (lease: Lease): string | null =>
    config === null || backend === null ? null : explainRejection(config, lease, backend.rejectPeer(lease));
  const table = judgeLeases(listing, readable, host, reject);
  // No daemon uses a reservation before its host has joined; here it must not contradict a lease either.
  const rejectJoined = (lease: Lease) => (isUnclaimed(lease, backend) ? null : reject(lease));
  const expected = judgeLeases(listing, readable, host, rejectJoined);
  const [rejected, contradicting] = [table.rejected(), expected.rejected()];
  const moved = movedHosts([...table.peers.values()], backend);
  const leases = listing.entries
    .filter((entry) => !isFolderKey(entry))
    .map((entry) => {
      const audited = describeEntry(entry, backend);
      const { key, isUnclaimed } = audited;
      const rejection = (isUnclaimed ? contradicting : rejected).get(key)?.reason;
      const own = key === host?.own.key ? ownProblem(table) : null;
      return { ...audited, problem: rejection ?? moved.get(key) ?? own };
    });
  return { leases: leases.sort(bySubnet), config, configProblem: problem };
}

/** What a daemon with this configuration uses and rejects of the listing, and by `rejectPeer`. */
function judgeLeases(
  listing: StoreListing,
  { config, backend }: ReadConfig,
  host: AuditingHost | null,
  rejectPeer: (lease: Lease) => string | null,
): PeerTable {
  const table = new PeerTable({
    networks: config === null ? [] : Object.values(config.families).map(({ network }) => network),
    ownAddresses: host?.own.attrs.publicAddress ?? {},
    ownIdentities: host === null ? [] : identitiesOf(host.own, backend),
    local: host?.local ?? [],
    leaveGraceMs: 0,
    holdDownMs: 0,
    logger: silentLogger,
    rejectPeer,
    rejectLocally: () => null,
    identitiesOf: (lease) => identitiesOf(lease, backend),
  });
  table.setOwnKey(host?.own.key ?? null);
  table.apply({ type: "list", ...listing }, 0);
  return table;
}

/** All that an entry says on its own. */
function describeEntry(entry: StoreEntry, backend: MixedBackend | null): Omit<AuditedLease, "problem"> {
  const lease = decodeOrNull(entry);
  return {
    key: entry.key,
    entry,
    subnets: readStrayKey(entry.key),
    attrs: lease?.attrs ?? null,
    identities: lease === null ? [] : identitiesOf(lease, backend),
    isReservation: entry.storeLeaseId === null,
    hasPresentBackend: lease !== null && backend !== null && asksFor(lease, backend),
    isUnclaimed: lease !== null && isUnclaimed(lease, backend),
  };
}

function ownProblem({ ownRejection, ownObstacle }: PeerTable): string | null {
  return ownRejection === null ? ownObstacle : `peers reject our lease: ${ownRejection}`;
}

/** Leases that their hosts have left behind: a younger one has the same tunnel MAC. Daemons use both. */
function movedHosts(leases: readonly Lease[], backend: MixedBackend | null): ReadonlyMap<LeaseKey, string> {
  const youngest = new Map<string, Lease>();
  for (const lease of leases) {
    for (const identity of identitiesOf(lease, backend)) {
      const other = youngest.get(identity);
      if (other === undefined || other.createRevision < lease.createRevision) youngest.set(identity, lease);
    }
  }
  const moved = new Map<LeaseKey, string>();
  for (const lease of leases) {
    for (const identity of identitiesOf(lease, backend)) {
      const successor = youngest.get(identity) ?? lease;
      if (successor === lease) continue;
      const reason = `lease ${lease.key}: its hardware address ${identity} is also that of lease ${successor.key}, which is younger; delete this one if its host has moved there`;
      moved.set(lease.key, reason);
    }
  }
  return moved;
}

/** The addresses that a lease's host publishes, as text. */
export function publicAddresses(attrs: LeaseAttrs | null): string {
  return attrs === null ? "" : [...entriesOf(attrs.publicAddress)].map(([, address]) => address).join(", ");
}

interface ReadConfig {
  readonly config: NetworkConfig | null;
  readonly backend: MixedBackend | null;
  readonly problem: string | null;
}

function readConfig(text: string | null): ReadConfig {
  if (text === null) {
    const problem = 'the store holds no network configuration: write one with "tulle net init"';
    return { config: null, backend: null, problem };
  }
  try {
    const config = parseNetworkConfig(text);
    return { config, backend: prepareForAnyHost(config), problem: null };
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return { config: null, backend: null, problem: errorMessage(error) };
  }
}

/** Made in advance by an administrator: it names the host, but the host has not said yet how to reach it. */
function isUnclaimed(lease: Lease, backend: MixedBackend | null): boolean {
  const { storeLeaseId, attrs } = lease;
  const isBare = attrs.nodeId === null && Object.keys(attrs.backendData).length === 0;
  // Some backends need no data: then the same lease may be that of a host at work.
  return storeLeaseId === null && isBare && backend !== null && backend.rejectPeer(lease) !== null;
}

function asksFor(lease: Lease, backend: MixedBackend): boolean {
  const { otherBackends: _, ...attrs } = lease.attrs;
  return backend.rejectPeer({ ...lease, attrs }) === null;
}

function identitiesOf(lease: Pick<Lease, "attrs">, backend: MixedBackend | null): readonly string[] {
  return backend?.peerIdentities(lease) ?? [];
}

function decodeOrNull(entry: StoreEntry): Lease | null {
  try {
    return decodeEntry(entry);
  } catch (error) {
    if (error instanceof TulleError) return null; // the peer table gives the reason
    throw error;
  }
}

function bySubnet(left: AuditedLease, right: AuditedLease): number {
  const difference = baseValue(left.subnets) - baseValue(right.subnets);
  if (difference !== 0n) return difference < 0n ? -1 : 1;
  return left.key < right.key ? -1 : 1;
}

function baseValue(subnets: PerFamily<Prefix> | null): bigint {
  const base: Address | undefined = (subnets?.[4] ?? subnets?.[6])?.base;
  return base?.value ?? -1n;
}
