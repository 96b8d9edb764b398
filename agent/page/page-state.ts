/** What the page has been told, and what follows from it. Pure. */

import type {
  HostData,
  OwnData,
  PageData,
  PageUpdate,
  PairData,
  Revisions,
} from "../page-server/page-data.ts";

/** What a host or a path looks like, the worst first. */
export type Level = "bad" | "lossy" | "unknown" | "band-3" | "band-2" | "band-1" | "band-0" | "own";

/** Upper ends of the bands of round trips, in milliseconds; the last one has none. */
const BANDS_MS = [1, 10, 100];
/** Of the last packets, at least a dozen: a single lost one must not alarm. */
const LOSSY = 0.12;

export class PageState {
  readonly hosts = new Map<string, HostData>();
  readonly #levels = new Map<string, Level>();
  readonly #bad = new Map<string, PairData[]>();
  self: string | null = null;
  own: OwnData | null = null;
  pairs: readonly PairData[] = [];
  counted: Readonly<Record<string, number>> = {};
  notes: readonly string[] = [];
  revisions: Revisions = { events: 0, networks: null };
  /** As in PageData, at the last message. */
  now = 0;
  /** Changes with the set of hosts. */
  generation = 0;
  #order: { readonly generation: number; readonly ids: readonly string[] } = { generation: -1, ids: [] };

  /** Takes the whole state. */
  replace(data: PageData): void {
    this.hosts.clear();
    this.#levels.clear();
    this.generation += 1;
    this.take({ ...data });
  }

  /** Takes what changed. */
  take(update: PageUpdate): void {
    this.now = update.now;
    if (update.self !== undefined) this.self = update.self;
    if (update.own !== undefined) this.own = update.own;
    if (update.counted !== undefined) this.#setCounted(update.counted);
    if (update.notes !== undefined) this.notes = update.notes;
    if (update.revisions !== undefined) this.revisions = update.revisions;
    for (const id of update.gone ?? []) if (this.hosts.delete(id)) this.generation += 1;
    for (const host of update.hosts ?? []) {
      if (!this.hosts.has(host.id)) this.generation += 1;
      this.hosts.set(host.id, host);
      this.#levels.delete(host.id);
    }
    if (update.pairs !== undefined) this.#setPairs(update.pairs);
  }

  /** By lease, in the order of addresses. */
  get ordered(): readonly HostData[] {
    const { generation } = this;
    if (this.#order.generation !== generation)
      this.#order = { generation, ids: [...this.hosts.keys()].sort(byNumbers.compare) };
    return this.#order.ids.flatMap((id) => this.hosts.get(id) ?? []);
  }

  /** Broken paths that begin or end at the host. */
  pairsOf(id: string): readonly PairData[] {
    return this.#bad.get(id) ?? [];
  }

  levelOf(host: HostData): Level {
    const known = this.#levels.get(host.id);
    if (known !== undefined) return known;
    const isBad = this.#bad.has(host.id) || Object.hasOwn(this.counted, host.id);
    const level = isBad ? "bad" : measuredLevel(host);
    this.#levels.set(host.id, level);
    return level;
  }

  nameOf(id: string): string {
    return this.hosts.get(id)?.name ?? id;
  }

  /** Hosts that begin or end a broken path, or whose report only counts them. */
  get badHosts(): number {
    return new Set([...this.#bad.keys(), ...Object.keys(this.counted)]).size;
  }

  #setCounted(counted: PageData["counted"]): void {
    this.counted = counted;
    this.#levels.clear();
  }

  #setPairs(pairs: readonly PairData[]): void {
    this.pairs = pairs;
    this.#bad.clear();
    this.#levels.clear();
    for (const pair of pairs) {
      for (const end of [pair.from, pair.to]) {
        const list = this.#bad.get(end);
        if (list === undefined) this.#bad.set(end, [pair]);
        else list.push(pair);
      }
    }
  }
}

const byNumbers = new Intl.Collator("en", { numeric: true });

/** Of the path from this host to the peer. */
export function measuredLevel({ state, loss, roundTripMs }: HostData): Level {
  if (state === null) return "own";
  if (state === "bad") return "bad";
  if ((loss ?? 0) >= LOSSY) return "lossy";
  if (roundTripMs === null) return "unknown";
  const band = BANDS_MS.findIndex((end) => roundTripMs < end);
  return `band-${band < 0 ? 3 : (band as 0 | 1 | 2)}`;
}

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

/** What a person has to look at: one link, or one host whose links to several others are broken alike. */
export interface Problem {
  /** The host that all links have in common; null for a single link. */
  readonly hub: string | null;
  /** At least one. */
  readonly links: readonly Link[];
}

/** From so many links on one host they are one problem: of that host. */
const HUB_LINKS = 3;

/** The problems with the most links first, then as linksOf sorts them. */
export function problemsOf(pairs: readonly PairData[], self: string | null): readonly Problem[] {
  let left = linksOf(pairs, self);
  const problems: Problem[] = [];
  for (let hub = largestHub(left); hub !== null; hub = largestHub(left)) {
    const { id, cause } = hub;
    const isPart = ({ pair }: Link): boolean => pair.cause === cause && (pair.from === id || pair.to === id);
    problems.push({ hub: id, links: left.filter(isPart) });
    left = left.filter((link) => !isPart(link));
  }
  return [...problems, ...left.map((link) => ({ hub: null, links: [link] }))];
}

/** The host with the most links of one cause; null when none has enough. */
function largestHub(links: readonly Link[]): { readonly id: string; readonly cause: string } | null {
  const counts = new Map<string, number>();
  let best: { id: string; cause: string } | null = null;
  let most = HUB_LINKS - 1;
  for (const { pair } of links) {
    // Of two hosts with one link each way the one that others complain of is more likely the cause.
    for (const id of [pair.to, pair.from]) {
      const key = `${id} ${pair.cause}`;
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      if (count > most) {
        most = count;
        best = { id, cause: pair.cause };
      }
    }
  }
  return best;
}
