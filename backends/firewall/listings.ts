/**
 * Spares listings of the firewall, each of which starts a program: the kernel says which tables there are, and its
 * notifications say which have changed. Without both, everything is listed.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import type { KernelFacts, TableNames } from "./kernel-facts.ts";

/** What a listing shows. */
export interface Shown {
  /** True for the tables of nftables that it shows, such as `ip filter`. */
  readonly nft: (table: string) => boolean;
  /** It shows the legacy tables of this family too. */
  readonly legacy?: Family;
}

/** More tables that changed are not told apart; it bounds the memory. */
const MOST_TABLES = 1000;

interface Kept {
  readonly listing: unknown;
  readonly shown: Shown;
  /** The number of the last change before the listing began. */
  readonly change: number;
}

export class Listings {
  readonly #facts: Pick<KernelFacts, "tables"> | null;
  readonly #kept = new Map<string, Kept>();
  /** By table: the number of its last change. */
  readonly #changed = new Map<string, number>();
  #lastChange = 0;
  /** The number of the last change of which the tables are not known. */
  #lastUnknown = 0;
  #areEventsComplete = false;

  /** `facts`: null where the kernel is not asked. */
  constructor(facts: Pick<KernelFacts, "tables"> | null = null) {
    this.#facts = facts;
  }

  /** What the kernel has now; null when unknown. */
  names(): TableNames | null {
    return this.#facts?.tables() ?? null;
  }

  /** True unless the kernel has no table that such a listing could show. */
  mayShow(shown: Shown): boolean {
    const names = this.names();
    return names === null || isAnyShown(shown, names);
  }

  /** From now on each change is noted, or no longer. */
  follow(areEventsComplete: boolean): void {
    this.#areEventsComplete = areEventsComplete;
    this.noteChange(null);
  }

  /** These tables have changed; null: any may have. */
  noteChange(tables: Iterable<string> | null): void {
    this.#lastChange += 1;
    for (const table of tables ?? []) this.#changed.set(table, this.#lastChange);
    if (tables !== null && this.#changed.size <= MOST_TABLES) return;
    this.#lastUnknown = this.#lastChange;
    this.#kept.clear();
    this.#changed.clear();
  }

  /**
   * What `list` returned last with this key, as long as nothing that it shows can have changed; else lists again. Null
   * is not kept.
   */
  async get<T>(key: string, shown: Shown, list: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(key);
    if (kept !== undefined && this.#isCurrent(kept)) return kept.listing as T;
    const change = this.#lastChange;
    const isReported = this.#isReported(shown);
    const listing = await list();
    if (isReported && listing !== null) this.#kept.set(key, { listing, shown, change });
    else this.#kept.delete(key);
    return listing;
  }

  /** Lists again the next time: its tables were written. */
  forget(key: string): void {
    this.#kept.delete(key);
  }

  #isCurrent({ shown, change }: Kept): boolean {
    if (change < this.#lastUnknown || !this.#isReported(shown)) return false;
    return ![...this.#changed].some(([table, last]) => last > change && shown.nft(table));
  }

  /** The kernel reports no change of legacy tables. */
  #isReported({ legacy }: Shown): boolean {
    if (!this.#areEventsComplete) return false;
    return legacy === undefined || this.names()?.legacy.has(legacy) === false;
  }
}

function isAnyShown({ nft, legacy }: Shown, names: TableNames): boolean {
  return (legacy !== undefined && names.legacy.has(legacy)) || [...names.nft].some(nft);
}
