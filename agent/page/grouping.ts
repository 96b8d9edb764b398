/** Groups broken paths by the hosts that they have in common, so that one fault is one problem. Pure. */

import type { PairData } from "../page-server/page-data.ts";
import { byNumbers, type Link, linksOf } from "./links.ts";

/**
 * One broken path, or several that are broken alike. Each path between a host of `left` and one of `right` is broken;
 * where `right` is empty, each path between two hosts of `left`. `left` is the smaller side: a host on which all paths
 * of the problem end is alone there.
 */
export interface Problem {
  readonly left: readonly string[];
  readonly right: readonly string[];
  /** Exactly those paths; at least one. */
  readonly links: readonly Link[];
}

/** More are not shown. */
const MOST_GROUPS = 200;

/** The problem with the most paths of one cause first; single paths last, as linksOf sorts them. */
export function problemsOf(pairs: readonly PairData[], self: string | null): readonly Problem[] {
  const graph = new Graph(linksOf(pairs, self));
  const problems: Problem[] = [];
  while (problems.length < MOST_GROUPS) {
    const group = graph.largestGroup();
    if (group === null) break;
    problems.push(group);
    for (const link of group.links) graph.remove(link);
  }
  return [
    ...problems,
    ...[...graph.links].map((link) => ({ left: [link.pair.from], right: [link.pair.to], links: [link] })),
  ];
}

/** The causes that both ends name; where one end knows the fault to be its own, the other can only suspect. */
export function evidenceOf({ pair, back }: Link): readonly PairData[] {
  return back === null || pair.isOwnFault !== back.isOwnFault ? [pair] : [pair, back];
}

/** Hosts, joined where the path between them is broken. */
class Graph {
  readonly #neighbours = new Map<string, Map<string, Link>>();
  /** In their order. */
  readonly links: Set<Link>;

  constructor(links: readonly Link[]) {
    this.links = new Set(links);
    for (const link of links) {
      this.#of(link.pair.from).set(link.pair.to, link);
      this.#of(link.pair.to).set(link.pair.from, link);
    }
  }

  remove(link: Link): void {
    const { from, to } = link.pair;
    this.links.delete(link);
    this.#of(from).delete(to);
    this.#of(to).delete(from);
  }

  /** Null when no two paths of one cause have a host in common. */
  largestGroup(): Problem | null {
    let best: Problem | null = null;
    let most = 1.5;
    for (const host of this.#neighbours.keys()) {
      for (const sides of [this.#between(host), this.#among(host)]) {
        // Of one size, the one that names a single host says more.
        const bonus = isStar(sides) ? 0.5 : 0;
        if (sizeOf(sides) + bonus <= most) continue;
        const links = this.#linksOf(sides);
        const weight = countOfOneCause(links) + bonus;
        if (weight <= most) continue;
        most = weight;
        best = { ...sides, links };
      }
    }
    return best === null ? null : { ...best, ...orderedSides(best) };
  }

  /** All hosts with broken paths to all that the host has broken paths to. */
  #between(host: string): Sides {
    const right = [...this.#of(host).keys()];
    const [first = host, ...others] = right;
    const isPart = (id: string): boolean => others.every((other) => this.#of(other).has(id));
    const left = [...this.#of(first).keys()].filter(isPart);
    return { left, right };
  }

  /** The host and as many as have broken paths to each other. */
  #among(host: string): Sides {
    const left = [host];
    for (const id of this.#of(host).keys()) if (left.every((other) => this.#of(other).has(id))) left.push(id);
    return { left, right: [] };
  }

  #linksOf({ left, right }: Sides): readonly Link[] {
    return left.flatMap((id, index) => {
      const others = right.length > 0 ? right : left.slice(index + 1);
      return others.flatMap((other) => this.#of(id).get(other) ?? []);
    });
  }

  #of(host: string): Map<string, Link> {
    const known = this.#neighbours.get(host);
    if (known !== undefined) return known;
    const links = new Map<string, Link>();
    this.#neighbours.set(host, links);
    return links;
  }
}

type Sides = Pick<Problem, "left" | "right">;

function sizeOf({ left, right }: Sides): number {
  return right.length > 0 ? left.length * right.length : (left.length * (left.length - 1)) / 2;
}

/** Whether all paths end on one host. */
function isStar({ left, right }: Sides): boolean {
  return right.length > 0 && Math.min(left.length, right.length) === 1;
}

/** Sorted, the smaller one first. */
function orderedSides(sides: Sides): Sides {
  const [left, right] = [sorted(sides.left), sorted(sides.right)];
  const order = left.length - right.length || byNumbers.compare(left[0] ?? "", right[0] ?? "");
  return right.length > 0 && order > 0 ? { left: right, right: left } : { left, right };
}

function sorted(ids: readonly string[]): readonly string[] {
  return [...ids].sort(byNumbers.compare);
}

/** How many have the cause that most have: two faults of one host are not one. */
function countOfOneCause(links: readonly Link[]): number {
  const counts = new Map<string, number>();
  for (const link of links)
    for (const cause of new Set(evidenceOf(link).map(({ cause }) => cause)))
      counts.set(cause, (counts.get(cause) ?? 0) + 1);
  return Math.max(0, ...counts.values());
}
