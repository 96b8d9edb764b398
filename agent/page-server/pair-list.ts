/** The broken paths of the page: this host's from its probes, those of other hosts from their health records. */

import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { HealthReport } from "../health-records/record.ts";
import type { ShownNetwork } from "../network/shown-network.ts";
import { CAUSES, type CauseCode, isOfHost } from "../probes/causes.ts";
import type { PairData } from "./page-data.ts";

/** More than a person or a browser can use; a network that is cut in two has millions. */
const MOST_PAIRS = 2_000;
/** Of a code that this version lacks. */
const REMEDY_ELSEWHERE = 'run "tulle status" on that host';

export interface PairSources {
  readonly network: ShownNetwork;
  /** Reports of other hosts by node id; null for one that cannot be read. */
  readonly reports: Iterable<{ readonly nodeId: string; readonly report: HealthReport | null }>;
  readonly nowSeconds: number;
}

export interface Pairs {
  readonly pairs: readonly PairData[];
  /** By lease key: broken paths that are not in `pairs`. */
  readonly counted: Readonly<Record<string, number>>;
}

export class PairList {
  #known = new Map<string, PairData>();

  /** Sorted by both ends. Reports of hosts without a lease, and on peers without one, do not count. */
  update(sources: PairSources): Pairs {
    const counted: Record<string, number> = {};
    const found = [...ownPairs(sources.network), ...reportedPairs(sources, counted)];
    const shown = found.slice(0, MOST_PAIRS);
    for (const { from } of found.slice(MOST_PAIRS)) counted[from] = (counted[from] ?? 0) + 1;
    const known = new Map<string, PairData>();
    for (const pair of shown) {
      const id = `${pair.from} ${pair.to}`;
      const before = this.#known.get(id);
      const isSame = before?.cause === pair.cause && before.seen === pair.seen;
      const since = before?.since ?? sources.nowSeconds;
      known.set(id, isSame ? before : { ...pair, ...knowledgeOf(pair.cause), since });
    }
    this.#known = known;
    return { pairs: [...known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, pair]) => pair), counted };
  }
}

type FoundPair = Pick<PairData, "from" | "to" | "cause" | "seen">;

function ownPairs({ own, peers, healthOf }: ShownNetwork): readonly FoundPair[] {
  if (healthOf === null) return [];
  return [...peers.keys()].flatMap((to) => {
    const { cause } = healthOf(to);
    return cause === null ? [] : [{ from: own.key, to, cause: cause.code, seen: cause.text }];
  });
}

function reportedPairs(
  { network: { own, peers }, reports }: PairSources,
  counted: Record<string, number>,
): readonly FoundPair[] {
  const keys = keysOfHosts(peers);
  const pairs: FoundPair[] = [];
  for (const { nodeId, report } of reports) {
    const from = keys.get(nodeId);
    // This host's own record is as old as its last write.
    if (from === undefined || report === null || nodeId === own.nodeId) continue;
    if (report.others > 0) counted[from] = report.others;
    for (const { peer, cause, seen } of report.bad) {
      const isKnown = peers.has(peer) || peer === own.key;
      if (isKnown && peer !== from) pairs.push({ from, to: peer, cause, seen });
    }
  }
  return pairs;
}

function keysOfHosts(peers: ShownNetwork["peers"]): ReadonlyMap<string, LeaseKey> {
  const keys = new Map<string, LeaseKey>();
  for (const [key, { attrs }] of peers) if (attrs.nodeId !== null) keys.set(attrs.nodeId, key);
  return keys;
}

function knowledgeOf(cause: string): Pick<PairData, "remedy" | "isOwnFault"> {
  if (!Object.hasOwn(CAUSES, cause)) return { remedy: REMEDY_ELSEWHERE, isOwnFault: false };
  const code = cause as CauseCode;
  return { remedy: CAUSES[code], isOwnFault: isOfHost(code) };
}
