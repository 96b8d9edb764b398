/**
 * Decides which leases can all be true at once: of two that contradict each other, the older one stays.
 *
 * Every host applies the same rule to the same leases, so all refuse the same ones. A change costs a change: all
 * are judged anew only when a lease is in another's way. Pure.
 */

import { isIP } from "node:net";
import { entriesOf, type PerFamily, type Prefix } from "../addresses/ip.ts";
import { OverlapIndex } from "../addresses/overlap-index.ts";
import type { Lease, LeaseKey } from "./lease.ts";

/** What the rules say of one lease by itself. */
export interface AdmissionRules {
  /** Why it can never be used, in a part of a sentence that begins with "its"; null when it can. */
  problemOf(lease: Lease): string | null;
  /** What no other lease may share with it: addresses and hardware addresses as text. */
  claimsOf(lease: Lease): readonly string[];
  /** The subnets that no other lease may overlap. */
  subnetsOf(lease: Lease): PerFamily<Prefix>;
}

interface Stake {
  readonly subnets: PerFamily<Prefix>;
  readonly claims: readonly string[];
}

export class Admission {
  readonly #rules: AdmissionRules;
  readonly #leases = new Map<LeaseKey, Lease>();
  readonly #accepted = new Map<LeaseKey, Lease>();
  /** What each accepted lease was accepted with: the rules may answer otherwise by now. */
  readonly #stakes = new Map<LeaseKey, Stake>();
  readonly #refused = new Map<LeaseKey, string>();
  #subnets = new OverlapIndex<LeaseKey>();
  readonly #claims = new Map<string, LeaseKey>();
  /** Refused for the sake of another lease, which is among the blockers. */
  readonly #rivals = new Set<LeaseKey>();
  readonly #blockers = new Set<LeaseKey>();
  #changed = new Set<LeaseKey>();

  constructor(rules: AdmissionRules) {
    this.#rules = rules;
  }

  /** Leases that may be used, by key: a live view. */
  get accepted(): ReadonlyMap<LeaseKey, Lease> {
    return this.#accepted;
  }

  /** Reasons of the others: a live view. */
  get refused(): ReadonlyMap<LeaseKey, string> {
    return this.#refused;
  }

  /** Keys that were accepted, withdrawn or changed since the last call. */
  takeChanged(): ReadonlySet<LeaseKey> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Adds a lease, or replaces the one with its key. */
  put(lease: Lease): void {
    const isInvolved = this.#isInvolved(lease.key);
    this.#withdraw(lease.key);
    this.#leases.set(lease.key, lease);
    if (isInvolved || this.#decide(lease) === "displaces") this.judgeAll();
  }

  delete(key: LeaseKey): void {
    const isInvolved = this.#isInvolved(key);
    this.#withdraw(key);
    if (this.#leases.delete(key) && isInvolved) this.judgeAll();
  }

  /** An accepted lease that `lease` contradicts; undefined when there is none. */
  obstacleTo(lease: Lease): Lease | undefined {
    const key = this.#blockerOf(lease.key, this.#stakeOf(lease))?.key;
    return key === undefined ? undefined : this.#accepted.get(key);
  }

  /** To be called when the rules' answers have changed. */
  judgeAll(): void {
    const before = new Map(this.#accepted);
    const marked = this.#changed;
    this.#changed = new Set();
    this.#subnets = new OverlapIndex();
    for (const part of [
      this.#accepted,
      this.#stakes,
      this.#refused,
      this.#claims,
      this.#rivals,
      this.#blockers,
    ])
      part.clear();
    const byAge = [...this.#leases.values()].sort((a, b) => (isOlder(a, b) ? -1 : 1));
    for (const lease of byAge) this.#decide(lease);
    this.#changed = marked;
    for (const [key, lease] of before) if (this.#accepted.get(key) !== lease) marked.add(key);
    for (const key of this.#accepted.keys()) if (!before.has(key)) marked.add(key);
  }

  #isInvolved(key: LeaseKey): boolean {
    return this.#rivals.has(key) || this.#blockers.has(key);
  }

  /** Judges one lease; `displaces` means that a younger one is in its way. */
  #decide(lease: Lease): "accepted" | "refused" | "displaces" {
    const { key } = lease;
    const problem = this.#rules.problemOf(lease);
    if (problem !== null) {
      this.#refused.set(key, `lease ${key}: ${problem}`);
      return "refused";
    }
    const stake = this.#stakeOf(lease);
    const blocker = this.#blockerOf(key, stake);
    if (blocker !== null) {
      this.#refused.set(key, `lease ${key}: ${blocker.reason}`);
      this.#rivals.add(key);
      this.#blockers.add(blocker.key);
      const holder = this.#accepted.get(blocker.key);
      return holder !== undefined && isOlder(lease, holder) ? "displaces" : "refused";
    }
    this.#accepted.set(key, lease);
    this.#changed.add(key);
    this.#stakes.set(key, stake);
    for (const [, subnet] of entriesOf(stake.subnets)) this.#subnets.set(subnet, key);
    for (const claim of stake.claims) this.#claims.set(claim, key);
    return "accepted";
  }

  #withdraw(key: LeaseKey): void {
    this.#refused.delete(key);
    const stake = this.#stakes.get(key);
    if (stake === undefined) return;
    this.#stakes.delete(key);
    this.#accepted.delete(key);
    this.#changed.add(key);
    for (const [, subnet] of entriesOf(stake.subnets)) this.#subnets.delete(subnet);
    for (const claim of stake.claims) this.#claims.delete(claim);
  }

  #stakeOf(lease: Lease): Stake {
    return { subnets: this.#rules.subnetsOf(lease), claims: this.#rules.claimsOf(lease) };
  }

  #blockerOf(
    key: LeaseKey,
    { subnets, claims }: Stake,
  ): { readonly key: LeaseKey; readonly reason: string } | null {
    const overlapped = this.#subnets.findAny(subnets);
    if (overlapped !== undefined && overlapped !== key) {
      const reason = `its subnet overlaps lease ${overlapped}, which is older; its host must give it up (delete the key if that host is gone)`;
      return { key: overlapped, reason };
    }
    for (const claim of claims) {
      const holder = this.#claims.get(claim);
      if (holder === undefined || holder === key) continue;
      const what = isIP(claim) === 0 ? "hardware address" : "public address";
      const reason = `its ${what} ${claim} is also that of lease ${holder}, which is older; delete the lease of the host that is gone`;
      return { key: holder, reason };
    }
    return null;
  }
}

function isOlder(a: Lease, b: Lease): boolean {
  return a.createRevision < b.createRevision;
}
