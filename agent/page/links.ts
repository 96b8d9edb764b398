/** Broken paths, both directions as one. Pure. */

import type { PairData } from "../page-server/page-data.ts";

/** Leases in the order of addresses. */
export const byNumbers = new Intl.Collator("en", { numeric: true });

/** A broken path, and the way back if that is broken too: of two the one that tells more. */
export interface Link {
  readonly pair: PairData;
  readonly back: PairData | null;
}

/** Broken paths with those in the opposite direction, those of this host first. */
export function linksOf(pairs: readonly PairData[], self: string | null): readonly Link[] {
  const all = new Map(pairs.map((pair) => [`${pair.from} ${pair.to}`, pair]));
  const links: Link[] = [];
  for (const pair of pairs) {
    const back = all.get(`${pair.to} ${pair.from}`) ?? null;
    if (back === null || comesBefore(pair, back, self)) links.push({ pair, back });
  }
  const rank = ({ pair }: Link): number => (pair.from === self || pair.to === self ? 0 : 1);
  const compare = (a: Link, b: Link): number =>
    rank(a) - rank(b) ||
    byNumbers.compare(a.pair.from, b.pair.from) ||
    byNumbers.compare(a.pair.to, b.pair.to);
  return links.sort(compare);
}

/** Of both directions of a link: the one whose host knows the fault to be its own, else that of this host. */
function comesBefore(pair: PairData, back: PairData, self: string | null): boolean {
  if (pair.isOwnFault !== back.isOwnFault) return pair.isOwnFault;
  return pair.from === self || (pair.to !== self && pair.from < pair.to);
}
