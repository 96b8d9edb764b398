/**
 * Finds what overlaps a prefix without looking at every prefix.
 *
 * Almost all subnets of a network have one length, so an exact look-up per length in use answers at once. For a prefix
 * shorter than those indexed, either its parts are looked up or the indexed ones compared, whichever is less. Pure.
 */

import { ADDRESS_BITS, FAMILIES, type Family, type PerFamily, Prefix } from "./ip.ts";

/** Values by base address, all of one family and length. */
type Level<T> = Map<bigint, T>;

export class OverlapIndex<T extends NonNullable<unknown>> {
  readonly #levels: Readonly<Record<Family, Map<number, Level<T>>>> = { 4: new Map(), 6: new Map() };

  /** One value per prefix: a second one replaces the first. */
  set(prefix: Prefix, value: T): void {
    const levels = this.#levels[prefix.family];
    let level = levels.get(prefix.length);
    if (level === undefined) {
      level = new Map();
      levels.set(prefix.length, level);
    }
    level.set(prefix.base.value, value);
  }

  delete(prefix: Prefix): void {
    const levels = this.#levels[prefix.family];
    const level = levels.get(prefix.length);
    if (level?.delete(prefix.base.value) && level.size === 0) levels.delete(prefix.length);
  }

  /** A value whose prefix shares an address with `prefix`, undefined when there is none. */
  find(prefix: Prefix): T | undefined {
    for (const [length, level] of this.#levels[prefix.family]) {
      const value =
        length > prefix.length ? valueInside(level, length, prefix) : level.get(baseAt(prefix, length));
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Every value whose prefix shares an address with `prefix`. The index must not change meanwhile. */
  *findAll(prefix: Prefix): Generator<T> {
    for (const [length, level] of this.#levels[prefix.family]) {
      if (length > prefix.length) yield* valuesInside(level, length, prefix);
      else {
        const value = level.get(baseAt(prefix, length));
        if (value !== undefined) yield value;
      }
    }
  }

  /** The first overlap of any family's prefix. */
  findAny(prefixes: PerFamily<Prefix>): T | undefined {
    for (const family of FAMILIES) {
      const prefix = prefixes[family];
      const found = prefix && this.find(prefix);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function baseAt(prefix: Prefix, length: number): bigint {
  return length === prefix.length ? prefix.base.value : Prefix.of(prefix.base, length).base.value;
}

function valueInside<T>(level: Level<T>, length: number, outer: Prefix): T | undefined {
  for (const value of valuesInside(level, length, outer)) return value;
  return undefined;
}

/** The values of a level of longer prefixes that lie inside `outer`. */
function* valuesInside<T>(level: Level<T>, length: number, outer: Prefix): Generator<T> {
  const first = outer.base.value;
  const last = outer.last.value;
  if (1n << BigInt(length - outer.length) > BigInt(level.size)) {
    for (const [base, value] of level) if (base >= first && base <= last) yield value;
    return;
  }
  const step = 1n << BigInt(ADDRESS_BITS[outer.family] - length);
  for (let base = first; base <= last; base += step) {
    const value = level.get(base);
    if (value !== undefined) yield value;
  }
}
