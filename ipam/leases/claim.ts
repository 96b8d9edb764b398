/**
 * Whose a lease is: the rules by which a host knows its own lease, adopts one, or sees that another took it.
 *
 * A node id is proof only together with a hardware or public address, because disks are copied; a public address
 * alone is what flannel goes by. Pure; docs/adr/0002-identity.md gives the reasons.
 */

import type { Mac } from "../addresses/mac.ts";
import type { LeaseAttrs } from "./lease.ts";

/** What a host says it is. */
export type Claimant = Pick<LeaseAttrs, "nodeId" | "publicAddress">;

/** What a starting host, whose identity is settled, may do with a lease that it finds. */
export type Claim =
  /** It carries our node id. */
  | "ours"
  /** It carries another id or none, but our public address: a reinstalled host, or one that ran flanneld. */
  | "adoptable"
  | "foreign";

export function claimOn(lease: Claimant, us: Claimant): Claim {
  if (isSameNode(lease, us)) return "ours";
  return isSameAddress(lease, us) ? "adoptable" : "foreign";
}

/**
 * False when a lease's text can neither be ours nor adoptable. Much cheaper than decoding it, which a start among
 * thousands of leases would otherwise do twice.
 */
export function mayName(value: string, us: Claimant): boolean {
  const address = us.publicAddress[4];
  // Other than an IPv4 address, an IPv6 address has more than one spelling.
  if (address === undefined || (us.nodeId !== null && value.includes(us.nodeId))) return true;
  return value.includes(address.toString());
}

/** How a running host lost its key to the one that holds it now. */
export type Takeover =
  /** A host with another id and address: it found the key free or was given it. */
  | "other host"
  /** Another id under our own public address: one of the two hosts must not have it. */
  | "same address"
  /** Our own id under another address: one of the two disks is a copy. */
  | "copied identity";

/** Null when the holder is ourselves. */
export function takeoverBy(holder: Claimant, us: Claimant): Takeover | null {
  if (isSameNode(holder, us)) return isSameAddress(holder, us) ? null : "copied identity";
  return isSameAddress(holder, us) ? "same address" : "other host";
}

export const LEAVE_IT =
  "restart this daemon to take another subnet, let it do so by --on-lease-lost=renumber, or delete the key if that host is wrong";

const REMEDIES: Readonly<Record<Takeover, string>> = {
  "other host": LEAVE_IT,
  "same address":
    "two hosts, or two agents on this host, have one public address: stop one of them or give it another -public-ip",
  "copied identity": "one of the two disks is a copy of the other: restart this daemon to get a new identity",
};

/** Names both hosts and what to do. `holder` is null when its value cannot be read. */
export function describeTakeover(takeover: Takeover, holder: Claimant | null, us: Claimant): string {
  const them = holder === null ? "a host whose value cannot be read" : describe(holder);
  return `${them} holds it now, we are ${describe(us)}; ${REMEDIES[takeover]}`;
}

function describe({ nodeId, publicAddress }: Claimant): string {
  const node = nodeId === null ? "a host without node id (flanneld)" : `node ${nodeId}`;
  return `${node} at ${Object.values(publicAddress).join(" and ") || "no address"}`;
}

/** The identity that was found on disk, and the host that found it. */
export interface FoundIdentity {
  readonly nodeId: string;
  /** Hardware address of the interface that it was last used with; null before the first use. */
  readonly recordedMac: Mac | null;
  /** Hardware addresses of all this host's interfaces. */
  readonly hostMacs: ReadonlySet<Mac>;
  readonly publicAddress: Claimant["publicAddress"];
}

/**
 * True when only the id itself says that the identity is this host's: no interface has the recorded
 * hardware address, and no lease joins the id with our public address. The disk, or this host's image, was
 * copied; copies that start before the original has a lease are told apart as well.
 */
export function isCopiedIdentity(found: FoundIdentity, leases: Iterable<Claimant>): boolean {
  if (found.recordedMac === null || found.hostMacs.has(found.recordedMac)) return false;
  for (const lease of leases) if (isSameNode(lease, found) && isSameAddress(lease, found)) return false;
  return true;
}

function isSameNode(a: Pick<Claimant, "nodeId">, b: Pick<Claimant, "nodeId">): boolean {
  return a.nodeId !== null && a.nodeId === b.nodeId;
}

/** As flannel compares: by IPv4 where there is one. */
function isSameAddress(lease: Pick<Claimant, "publicAddress">, us: Pick<Claimant, "publicAddress">): boolean {
  const address = us.publicAddress[4] ?? us.publicAddress[6];
  return address !== undefined && (lease.publicAddress[address.family]?.equals(address) ?? false);
}
