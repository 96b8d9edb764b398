/**
 * Finds what overlaps a prefix without looking at every prefix.
 *
 * Almost all subnets of a network have one length, so an exact look-up per length in use answers at once; only
 * prefixes longer than the one asked about are searched one by one. Pure.
 */

import { type PerFamily, Prefix } from "./ip.ts";

export class OverlapIndex<T> {
  /** By family and length, then by base address. */
  readonly #byLength = new Map<
    string,
    { readonly length: number; readonly values: Map<bigint, [Prefix, T]> }
  >();

  set(prefix: Prefix, value: T): void {
    const slot = `${prefix.family}/${prefix.length}`;
    let level = this.#byLength.get(slot);
    if (level === undefined) {
      level = { length: prefix.length, values: new Map() };
      this.#byLength.set(slot, level);
    }
    level.values.set(prefix.base.value, [prefix, value]);
  }

  delete(prefix: Prefix): void {
    this.#byLength.get(`${prefix.family}/${prefix.length}`)?.values.delete(prefix.base.value);
  }

  /** A value whose prefix shares an address with `prefix`, undefined when there is none. */
  find(prefix: Prefix): T | undefined {
    for (const [slot, { length, values }] of this.#byLength) {
      if (!slot.startsWith(`${prefix.family}/`)) continue;
      if (length <= prefix.length) {
        const found = values.get(Prefix.of(prefix.base, length).base.value);
        if (found !== undefined) return found[1];
        continue;
      }
      for (const [inner, value] of values.values()) if (prefix.contains(inner)) return value;
    }
    return undefined;
  }

  /** The first overlap of any family's prefix. */
  findAny(prefixes: PerFamily<Prefix>): T | undefined {
    for (const prefix of Object.values(prefixes)) {
      const found = this.find(prefix);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
