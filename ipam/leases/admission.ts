/**
 * Decides which leases can all be in use: of leases that contradict each other, the oldest one stays.
 *
 * By definition: take the leases by age, and accept each one that no rule rejects and that contradicts no accepted
 * lease. Every host applies this to the same leases, so all reject the same ones. Pure.
 *
 * A rejected lease waits for what it lacks, and is decided again only when that becomes free. Thousands of leases that
 * contradict each other so cost a change little more than one.
 */

import { isIP } from "node:net";
import { ADDRESS_BITS, type Address, entriesOf, type PerFamily, Prefix } from "../addresses/ip.ts";
import { OverlapIndex } from "../addresses/overlap-index.ts";
import { AgeQueue, isOlder } from "./age-queue.ts";
import { takeoverBy } from "./claim.ts";
import type { Lease, LeaseKey } from "./lease.ts";

/** What a lease needs for itself alone. */
export interface Demands {
  /** Addresses, hardware addresses and public keys as text. */
  readonly claims: readonly string[];
  /** What it shares with others that do not claim it, and gives up to an older lease that does. */
  readonly yieldsTo: readonly string[];
  /** No other lease's subnet may overlap these. */
  readonly subnets: PerFamily<Prefix>;
  /** No other lease's subnet may hold these: public addresses inside the network. */
  readonly addresses: readonly Address[];
}

/** What the rules say of one lease without regard to the others. */
export interface AdmissionRules {
  /** Why it can never be used, in a part of a sentence that begins with "its" or "it"; null when it can. */
  problemOf(lease: Lease): string | null;
  demandsOf(lease: Lease): Demands;
}

interface Candidate {
  readonly lease: Lease;
  readonly problem: string | null;
  readonly demands: Demands;
  isAccepted: boolean;
  /** Why it is rejected for another lease's sake; null when it is accepted, undecided or has a problem. */
  conflict: Conflict | null;
}

interface Conflict {
  readonly holder: Candidate;
  /** What to wait for: a claim, or the lease that overlaps. */
  readonly resource: string;
  /** Completes "lease K: …". */
  describe(holder: LeaseKey): string;
}

export class Admission {
  readonly #rules: AdmissionRules;
  readonly #candidates = new Map<LeaseKey, Candidate>();
  readonly #rejected = new Map<LeaseKey, Candidate>();
  readonly #claims = new Map<string, Candidate>();
  /** Accepted leases by what they yield. Lists, because nearly all have one entry and a set takes four times the memory. */
  readonly #yielding = new Map<string, Candidate[]>();
  #subnets = new OverlapIndex<Candidate>();
  #addresses = new OverlapIndex<Candidate>();
  readonly #waiting = new Map<string, AgeQueue<Candidate>>();
  #undecided = new AgeQueue<Candidate>();
  #changed = new Set<LeaseKey>();

  constructor(rules: AdmissionRules) {
    this.#rules = rules;
  }

  /** All leases by key, whatever the verdict. */
  keys(): Iterable<LeaseKey> {
    return this.#candidates.keys();
  }

  /** The lease of this key, whatever the verdict. */
  lease(key: LeaseKey): Lease | undefined {
    return this.#candidates.get(key)?.lease;
  }

  /** The lease of this key when it is accepted. */
  accepted(key: LeaseKey): Lease | undefined {
    const candidate = this.#candidates.get(key);
    return candidate?.isAccepted ? candidate.lease : undefined;
  }

  isRejected(key: LeaseKey): boolean {
    return this.#rejected.has(key);
  }

  /** Why the lease of this key is rejected, in one sentence that names it; null when it is not. */
  reasonOf(key: LeaseKey): string | null {
    const candidate = this.#rejected.get(key);
    if (candidate === undefined) return null;
    const { lease, problem, conflict } = candidate;
    return `lease ${key}: ${problem ?? (conflict && this.#describe(conflict, lease))}`;
  }

  #describe(conflict: Conflict, { attrs }: Lease): string {
    const holder = this.#holderOf(conflict).lease;
    const isOfSameHost = takeoverBy(holder.attrs, attrs) === null;
    return isOfSameHost ? describeSuccessor(holder.key) : conflict.describe(holder.key);
  }

  /** Keys whose verdict or lease changed since the last call. */
  takeChanged(): ReadonlySet<LeaseKey> {
    const changed = this.#changed;
    if (changed.size > 0) this.#changed = new Set();
    return changed;
  }

  /** Adds a lease, or replaces the one with its key. */
  put(lease: Lease): void {
    const candidate = this.#candidateOf(lease);
    this.#forget(lease.key);
    this.#enter(candidate);
    this.#settle();
  }

  delete(key: LeaseKey): void {
    this.#forget(key);
    this.#settle();
  }

  /** True when another lease is rejected because of this one, waits until it is gone, and stays itself. */
  hasWaiters(key: LeaseKey, stays: (waiter: LeaseKey) => boolean): boolean {
    const candidate = this.#candidates.get(key);
    if (candidate === undefined || !candidate.isAccepted) return false;
    return [placeOf(candidate), ...candidate.demands.claims].some((resource) =>
      this.#waiting.get(resource)?.some(({ lease }) => stays(lease.key)),
    );
  }

  /** Accepted leases that `lease` contradicts; none when a rule rejects it anyway. One may be listed several times. */
  obstaclesTo(lease: Lease): readonly Lease[] {
    const { demands } = this.#candidateOf(lease);
    return [...this.#conflictsOf(demands, lease)].map(({ holder }) => holder.lease);
  }

  /** To be called when the rules' answers have changed. */
  judgeAll(): void {
    const before = [...this.#candidates.values()];
    for (const part of [this.#candidates, this.#rejected, this.#claims, this.#yielding, this.#waiting])
      part.clear();
    this.#subnets = new OverlapIndex();
    this.#addresses = new OverlapIndex();
    const marked = this.#changed;
    this.#changed = new Set();
    const byAge = before.sort((a, b) => (isOlder(a.lease, b.lease) ? -1 : 1));
    for (const { lease } of byAge) this.#enter(this.#candidateOf(lease));
    this.#settle();
    this.#changed = marked;
    for (const { lease, isAccepted } of before) {
      if (!isAccepted || this.accepted(lease.key) !== lease) marked.add(lease.key);
    }
  }

  #candidateOf(lease: Lease): Candidate {
    const problem = this.#rules.problemOf(lease);
    const demands = problem === null ? this.#demands(lease) : NO_DEMANDS;
    return { lease, problem, demands, isAccepted: false, conflict: null };
  }

  #enter(candidate: Candidate): void {
    const { key } = candidate.lease;
    this.#candidates.set(key, candidate);
    this.#changed.add(key);
    if (candidate.problem === null) this.#undecided.add(candidate);
    else this.#rejected.set(key, candidate);
  }

  #forget(key: LeaseKey): void {
    const candidate = this.#candidates.get(key);
    if (candidate === undefined) return;
    if (candidate.isAccepted) this.#withdraw(candidate);
    else if (candidate.conflict !== null) this.#stopWaiting(candidate, candidate.conflict);
    this.#rejected.delete(key);
    this.#candidates.delete(key);
    this.#changed.add(key);
  }

  /** By age: a decision changes nothing for older leases, so each lease is decided when all older ones are. */
  #settle(): void {
    for (let next = this.#undecided.take(); next !== undefined; next = this.#undecided.take()) {
      this.#decide(next);
      // The oldest lease that waits for a claim which this one released or did not get is decided next.
      const { claims, yieldsTo } = next.demands;
      for (const claim of [...claims, ...yieldsTo]) if (!this.#claims.has(claim)) this.#wakeOldest(claim);
    }
  }

  #decide(candidate: Candidate): void {
    if (this.#isFree(candidate.demands)) {
      this.#accept(candidate);
      return;
    }
    const displaced: Candidate[] = [];
    for (const conflict of this.#conflictsOf(candidate.demands, candidate.lease)) {
      if (isOlder(conflict.holder.lease, candidate.lease)) {
        this.#reject(candidate, conflict);
        return;
      }
      displaced.push(conflict.holder);
    }
    for (const younger of displaced) {
      if (!younger.isAccepted) continue;
      this.#withdraw(younger);
      this.#undecided.add(younger);
    }
    this.#accept(candidate);
  }

  #accept(candidate: Candidate): void {
    const { claims, yieldsTo, subnets, addresses } = candidate.demands;
    candidate.isAccepted = true;
    for (const claim of claims) this.#claims.set(claim, candidate);
    for (const claim of yieldsTo) {
      const others = this.#yielding.get(claim);
      if (others === undefined) this.#yielding.set(claim, [candidate]);
      else others.push(candidate);
    }
    for (const [, subnet] of entriesOf(subnets)) this.#subnets.set(subnet, candidate);
    for (const address of addresses) this.#addresses.set(hostPrefix(address), candidate);
    this.#changed.add(candidate.lease.key);
  }

  #withdraw(candidate: Candidate): void {
    const { claims, yieldsTo, subnets, addresses } = candidate.demands;
    candidate.isAccepted = false;
    for (const claim of claims) this.#claims.delete(claim);
    for (const claim of yieldsTo) {
      const others = this.#yielding.get(claim)?.filter((other) => other !== candidate) ?? [];
      if (others.length === 0) this.#yielding.delete(claim);
      else this.#yielding.set(claim, others);
    }
    for (const [, subnet] of entriesOf(subnets)) this.#subnets.delete(subnet);
    for (const address of addresses) this.#addresses.delete(hostPrefix(address));
    for (const claim of claims) this.#wakeOldest(claim);
    const place = placeOf(candidate);
    while (this.#wakeOldest(place));
    this.#changed.add(candidate.lease.key);
  }

  #reject(candidate: Candidate, conflict: Conflict): void {
    candidate.conflict = conflict;
    this.#rejected.set(candidate.lease.key, candidate);
    this.#changed.add(candidate.lease.key);
    const queue = this.#waiting.get(conflict.resource) ?? new AgeQueue();
    this.#waiting.set(conflict.resource, queue);
    queue.add(candidate);
  }

  #stopWaiting(candidate: Candidate, { resource }: Conflict): void {
    const queue = this.#waiting.get(resource);
    queue?.delete(candidate);
    if (queue?.isEmpty) this.#waiting.delete(resource);
  }

  /** Has the oldest lease that waits for the resource decided again. Returns false when none waits. */
  #wakeOldest(resource: string): boolean {
    const queue = this.#waiting.get(resource);
    const candidate = queue?.take();
    if (queue?.isEmpty) this.#waiting.delete(resource);
    if (candidate === undefined) return false;
    candidate.conflict = null;
    this.#rejected.delete(candidate.lease.key);
    this.#undecided.add(candidate);
    return true;
  }

  #demands(lease: Lease): Demands {
    return this.#rules.demandsOf(lease);
  }

  /** Who has the claim now; it may have passed to another lease since the conflict was found. */
  #holderOf({ resource, holder }: Conflict): Candidate {
    return this.#claims.get(resource) ?? holder;
  }

  /** Whether no accepted lease is in the way: the usual case, in a fraction of the time of listing conflicts. */
  #isFree({ claims, yieldsTo, subnets, addresses }: Demands): boolean {
    if (claims.some((claim) => this.#claims.has(claim) || this.#yielding.has(claim))) return false;
    if (yieldsTo.some((claim) => this.#claims.has(claim))) return false;
    if (this.#subnets.findAny(subnets) !== undefined || this.#addresses.findAny(subnets) !== undefined)
      return false;
    return addresses.every((address) => this.#subnets.find(hostPrefix(address)) === undefined);
  }

  *#conflictsOf({ claims, yieldsTo, subnets, addresses }: Demands, lease: Lease): Generator<Conflict> {
    const { key } = lease;
    for (const [, subnet] of entriesOf(subnets)) {
      for (const holder of this.#subnets.findAll(subnet)) {
        if (holder.lease.key !== key) yield { holder, resource: placeOf(holder), describe: describeOverlap };
      }
      for (const holder of this.#addresses.findAll(subnet)) {
        if (holder.lease.key !== key)
          yield { holder, resource: placeOf(holder), describe: describeCover(subnet) };
      }
    }
    for (const claim of claims) {
      const holder = this.#claims.get(claim);
      if (holder !== undefined && holder.lease.key !== key)
        yield { holder, resource: claim, describe: describeClaim(claim) };
      for (const holder of this.#yielding.get(claim) ?? [])
        if (isOlder(lease, holder.lease)) yield { holder, resource: claim, describe: describeClaim(claim) };
    }
    for (const claim of yieldsTo) {
      const holder = this.#claims.get(claim);
      if (holder !== undefined && isOlder(holder.lease, lease))
        yield { holder, resource: claim, describe: describeClaim(claim) };
    }
    for (const address of addresses) {
      const holder = this.#subnets.find(hostPrefix(address));
      if (holder !== undefined && holder.lease.key !== key)
        yield { holder, resource: placeOf(holder), describe: describeInside(address) };
    }
  }
}

const NO_DEMANDS: Demands = { claims: [], yieldsTo: [], subnets: {}, addresses: [] };

/** The resource that a lease holds as a whole; claims never look like this. */
function placeOf({ lease }: Candidate): string {
  return `lease ${lease.key}`;
}

function hostPrefix(address: Address): Prefix {
  return Prefix.of(address, ADDRESS_BITS[address.family]);
}

/** A host that moves to another subnet creates its new lease before it deletes the old one. */
function describeSuccessor(holder: LeaseKey): string {
  return `its host also has lease ${holder}, which is older and used until that host deletes it; delete the older key if it stays`;
}

function describeOverlap(holder: LeaseKey): string {
  return `its subnet overlaps lease ${holder}, which is older; its host must give it up (delete the key if that host is gone)`;
}

function describeCover(subnet: Prefix) {
  return (holder: LeaseKey): string =>
    `its subnet ${subnet} holds the public address of lease ${holder}, which is older; revoke this lease, so that its host takes another subnet`;
}

function describeInside(address: Address) {
  return (holder: LeaseKey): string =>
    `its public address ${address} lies in the subnet of lease ${holder}, which is older; give its host another -public-ip, or revoke that lease`;
}

function describeClaim(claim: string) {
  const what = isIP(claim) === 0 ? identityName(claim) : "public address";
  return (holder: LeaseKey): string =>
    `its ${what} ${claim} is also that of lease ${holder}, which is older; delete the lease of the host that is gone, else give one of the two hosts another`;
}

/** What identifies a peer besides its addresses, by its form. */
export function identityName(identity: string): string {
  return /^([\da-f]{2}:){5}[\da-f]{2}$/.test(identity) ? "hardware address" : "public key";
}
