/**
 * The members of one network, host by host, and which of them count: an address or a MAC belongs to one member.
 *
 * Of two claims the one in the record with the older create revision counts, so that every host decides alike. A change
 * of one host's record costs that host's members and those that they meet. Pure.
 */

import { entriesOf } from "../addresses/ip.ts";
import type { HostId, HostMembers, Member, NamedNetwork } from "./named-network.ts";
import { containerAddressProblem } from "./network-rules.ts";

interface HostEntry {
  readonly host: HostId;
  /** Of the host's record; larger than any other for one that is not written yet. */
  readonly createRevision: bigint;
  members: readonly Member[];
  /** Why members of the record do not count. */
  problems: readonly string[];
}

/** Of a record that is not in the store yet: the newest. */
export const UNWRITTEN = 1n << 64n;

export class NetworkMembers {
  readonly #network: NamedNetwork;
  readonly #entries = new Map<HostId, HostEntry>();
  /** Who claims an address or a MAC: nearly always one host. */
  readonly #claims = new Map<string, readonly HostEntry[]>();
  readonly #accepted = new Map<HostId, HostMembers>();
  #view: ReadonlyMap<HostId, HostMembers> | null = null;

  constructor(network: NamedNetwork) {
    this.#network = network;
  }

  get network(): NamedNetwork {
    return this.#network;
  }

  /** Hosts with members that count. The same map until something changes. */
  get view(): ReadonlyMap<HostId, HostMembers> {
    this.#view ??= new Map(this.#accepted);
    return this.#view;
  }

  /** Why members do not count. */
  get problems(): readonly string[] {
    return [...this.#entries.values()].flatMap(({ problems }) => problems);
  }

  /** Replaces the members of a host. */
  set(host: HostId, members: readonly Member[], createRevision: bigint): void {
    this.#view = null;
    const known = this.#entries.get(host);
    if (known?.createRevision === createRevision && this.#exchange(known, members)) return;
    const entry: HostEntry = { host, createRevision, members, problems: [] };
    const rivals = new Set([...this.#withdraw(host), ...this.#claim(entry)]);
    this.#entries.set(host, entry);
    for (const each of [entry, ...rivals]) this.#judge(each);
  }

  delete(host: HostId): void {
    const rivals = this.#withdraw(host);
    if (!this.#entries.delete(host)) return;
    this.#accepted.delete(host);
    for (const each of rivals) this.#judge(each);
    this.#view = null;
  }

  /**
   * Replaces some members of a host where no claim meets another: the cost is that of the members which changed. False
   * when everything must be judged.
   */
  #exchange(entry: HostEntry, members: readonly Member[]): boolean {
    if (entry.problems.length > 0) return false;
    const [before, after] = [new Set(entry.members), new Set(members)];
    const leaving = entry.members.filter((member) => !after.has(member)).flatMap(claimsOf);
    if (leaving.some((claim) => (this.#claims.get(claim)?.length ?? 0) > 1)) return false;
    const added = members.filter((member) => !before.has(member));
    if (added.some((member) => this.#addressProblem(member) !== null)) return false;
    const freed = new Set(leaving);
    const coming = added.flatMap(claimsOf);
    const isMet = (claim: string): boolean => this.#claims.has(claim) && !freed.has(claim);
    if (coming.some(isMet) || new Set(coming).size < coming.length) return false;
    for (const claim of leaving) this.#claims.delete(claim);
    for (const claim of coming) this.#claims.set(claim, [entry]);
    entry.members = members;
    this.#accept(entry, members);
    return true;
  }

  /** Removes the host's claims and returns who else claims the same. */
  #withdraw(host: HostId): readonly HostEntry[] {
    const entry = this.#entries.get(host);
    if (entry === undefined) return [];
    return entry.members.flatMap(claimsOf).flatMap((claim) => {
      const rest = (this.#claims.get(claim) ?? []).filter((each) => each.host !== host);
      if (rest.length === 0) this.#claims.delete(claim);
      else this.#claims.set(claim, rest);
      return rest;
    });
  }

  /** Adds the host's claims and returns who else claims the same. */
  #claim(entry: HostEntry): readonly HostEntry[] {
    return entry.members.flatMap(claimsOf).flatMap((claim) => {
      const others = (this.#claims.get(claim) ?? []).filter((each) => each !== entry);
      this.#claims.set(claim, [...others, entry]);
      return others;
    });
  }

  #judge(entry: HostEntry): void {
    const problems: string[] = [];
    const own = new Set<string>();
    const accepted = entry.members.filter((member) => {
      const problem = this.#problemOf(member, entry, own);
      if (problem !== null) problems.push(`${titleOf(member)}: ${problem}`);
      else for (const claim of claimsOf(member)) own.add(claim);
      return problem === null;
    });
    entry.problems = problems;
    this.#accept(entry, problems.length === 0 ? entry.members : accepted);
  }

  #accept({ host }: HostEntry, members: readonly Member[]): void {
    if (members.length === 0) this.#accepted.delete(host);
    else this.#accepted.set(host, { host, network: this.#network.id, members });
  }

  /** Why no container of the network can have the member's addresses. */
  #addressProblem({ addresses }: Member): string | null {
    for (const [family, address] of entriesOf(addresses)) {
      const pool = this.#network.pools[family];
      if (pool === undefined) return `${address}: the network has no IPv${family}`;
      const problem = containerAddressProblem(pool, address);
      if (problem !== null) return problem;
    }
    return null;
  }

  #problemOf(member: Member, entry: HostEntry, own: ReadonlySet<string>): string | null {
    const problem = this.#addressProblem(member);
    if (problem !== null) return problem;
    for (const claim of claimsOf(member)) {
      if (own.has(claim)) return `${claim} occurs twice in the host's record`;
      const winner = (this.#claims.get(claim) ?? []).reduce((a, b) => (isOlder(b, a) ? b : a), entry);
      if (winner !== entry) return `${claim} belongs to a container on host ${winner.host}`;
    }
    return null;
  }
}

function claimsOf({ mac, addresses }: Member): readonly string[] {
  return [mac, ...entriesOf(addresses).map(([, address]) => address.toString())];
}

/** Equal revisions do not happen in one store; the host's id decides between two records that are not written yet. */
function isOlder(a: HostEntry, b: HostEntry): boolean {
  return a.createRevision === b.createRevision ? a.host < b.host : a.createRevision < b.createRevision;
}

function titleOf({ names, container, endpoint }: Member): string {
  return names[0] ?? container ?? endpoint;
}
