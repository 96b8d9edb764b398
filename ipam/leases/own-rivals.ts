/**
 * Whether the other hosts reject our own lease, by the rule that all of them apply: of two leases that contradict each
 * other the older one stays (admission.ts). A change of a lease costs a comparison with ours. Pure.
 */

import { isIP } from "node:net";
import { entriesOf } from "../addresses/ip.ts";
import type { Lease, LeaseKey } from "./lease.ts";

/** Answers that are the same on every host. */
export interface CommonRules {
  /** Why no host can use a lease, in a part of a sentence that begins with "its"; null when they can. */
  problemOf(lease: Lease): string | null;
  /** Why the backend cannot use a lease of another host; it rejects this host's own hardware address, too. */
  refusePeer(lease: Lease): string | null;
  /** What no two leases may share. */
  claimsOf(lease: Lease): readonly string[];
}

export class OwnRivals {
  readonly #rules: CommonRules;
  #own: Lease | null = null;
  #ownProblem: string | null = null;
  #ownClaims: readonly string[] = [];
  /** Older leases that contradict ours, with the reason. */
  readonly #rivals = new Map<LeaseKey, { readonly lease: Lease; readonly reason: string }>();

  constructor(rules: CommonRules) {
    this.#rules = rules;
  }

  /** Takes our lease, null while the store does not hold it, and all others. */
  reset(own: Lease | null, leases: Iterable<Lease>): void {
    this.#own = own;
    this.#rivals.clear();
    if (own === null) return;
    this.#ownProblem = this.#rules.problemOf(own);
    this.#ownClaims = this.#rules.claimsOf(own);
    for (const lease of leases) this.put(lease);
  }

  /** A lease of another host is there or has changed. */
  put(lease: Lease): void {
    const reason = this.#contradiction(lease);
    if (reason === null) this.#rivals.delete(lease.key);
    else this.#rivals.set(lease.key, { lease, reason });
  }

  delete(key: LeaseKey): void {
    this.#rivals.delete(key);
  }

  /**
   * Why every host rejects our lease, in one sentence; null when they accept it. `isRejected` says whether a rival is
   * itself rejected for the sake of an older lease.
   */
  rejection(isRejected: (lease: Lease) => boolean): string | null {
    if (this.#own === null) return null;
    if (this.#ownProblem !== null) return `lease ${this.#own.key}: ${this.#ownProblem}`;
    for (const { lease, reason } of this.#rivals.values())
      if (!isRejected(lease)) return `lease ${this.#own.key}: ${reason}`;
    return null;
  }

  #contradiction(lease: Lease): string | null {
    const own = this.#own;
    if (own === null || lease.key === own.key || lease.createRevision >= own.createRevision) return null;
    const overlap = [...entriesOf(lease.subnets)].some(([family, subnet]) =>
      own.subnets[family]?.overlaps(subnet),
    );
    const shared = overlap ? undefined : this.#sharedClaim(lease);
    if (!overlap && shared === undefined) return null;
    const isIdentity = shared !== undefined && isIP(shared) === 0;
    const problem = this.#rules.problemOf(lease) ?? (isIdentity ? null : this.#rules.refusePeer(lease));
    if (problem !== null) return null;
    const advice = `; delete lease ${lease.key} if its host is gone, else give one of the two hosts another address`;
    return overlap
      ? `its subnet overlaps lease ${lease.key}, which is older`
      : `its address ${shared} is also that of lease ${lease.key}, which is older${advice}`;
  }

  #sharedClaim(lease: Lease): string | undefined {
    return this.#rules.claimsOf(lease).find((claim) => this.#ownClaims.includes(claim));
  }
}
