/** What the page has been told, and what follows from it. Pure. */

import type {
  HostData,
  OwnData,
  PageData,
  PageUpdate,
  PairData,
  Revisions,
} from "../page-server/page-data.ts";
import { type Problem, problemsOf } from "./grouping.ts";
import { withoutSharedDomain } from "./host-names.ts";
import { byNumbers } from "./links.ts";

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
  #problems: readonly Problem[] | null = null;
  #names: ReadonlyMap<string, string> | null = null;
  #order: { readonly generation: number; readonly ids: readonly string[] } = { generation: -1, ids: [] };

  /** Takes the whole state. */
  replace(data: PageData): void {
    this.hosts.clear();
    this.#levels.clear();
    this.generation += 1;
    this.#names = null;
    this.take({ ...data });
  }

  /** Takes what changed. */
  take(update: PageUpdate): void {
    this.now = update.now;
    if (update.self !== undefined) {
      this.self = update.self;
      this.#problems = null;
    }
    if (update.own !== undefined) this.own = update.own;
    if (update.counted !== undefined) this.#setCounted(update.counted);
    if (update.notes !== undefined) this.notes = update.notes;
    if (update.revisions !== undefined) this.revisions = update.revisions;
    for (const id of update.gone ?? []) if (this.hosts.delete(id)) this.generation += 1;
    for (const host of update.hosts ?? []) {
      if (!this.hosts.has(host.id)) this.generation += 1;
      if (this.hosts.get(host.id)?.name !== host.name) this.#names = null;
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

  /** Without the domain that all have. */
  nameOf(id: string): string {
    if (this.#names === null) {
      const hosts = [...this.hosts.values()];
      const names = withoutSharedDomain(hosts.map(({ name }) => name));
      this.#names = new Map(hosts.map((host, index) => [host.id, names[index] ?? host.name]));
    }
    return this.#names.get(id) ?? id;
  }

  /** What is wrong with the paths. */
  get problems(): readonly Problem[] {
    this.#problems ??= problemsOf(this.pairs, this.self);
    return this.#problems;
  }

  /** The hosts at which a problem is: where all its paths end at one host, that one. */
  get blamed(): ReadonlySet<string> {
    const hosts = this.problems.flatMap(({ left, right, links }) =>
      left.length === 1 && links.length > 1 ? left : [...left, ...right],
    );
    return new Set([...hosts, ...Object.keys(this.counted)]);
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
    this.#problems = null;
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

/** Of the path from this host to the peer. */
export function measuredLevel({ state, loss, roundTripMs }: HostData): Level {
  if (state === null) return "own";
  if (state === "bad") return "bad";
  if ((loss ?? 0) >= LOSSY) return "lossy";
  if (roundTripMs === null) return "unknown";
  const band = BANDS_MS.findIndex((end) => roundTripMs < end);
  return `band-${band < 0 ? 3 : (band as 0 | 1 | 2)}`;
}
