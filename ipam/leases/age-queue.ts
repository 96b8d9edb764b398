/** Leases in order of their age, the oldest first. Pure. */

import type { Lease } from "./lease.ts";

interface Aged {
  readonly lease: Pick<Lease, "key" | "createRevision">;
}

/** Of two leases with one create revision, as one transaction makes them, the one with the lower key counts as older. */
export function isOlder(a: Aged["lease"], b: Aged["lease"]): boolean {
  if (a.createRevision !== b.createRevision) return a.createRevision < b.createRevision;
  return a.key < b.key;
}

/** A sorted array: leases mostly come in order of their age, and the oldest leave first. */
export class AgeQueue<T extends Aged> {
  #items: T[] = [];
  /** Everything before this place has been taken. */
  #head = 0;

  get isEmpty(): boolean {
    return this.#head === this.#items.length;
  }

  /** Adds an item unless it is there. */
  add(item: T): void {
    const place = this.#placeOf(item);
    if (this.#items[place] !== item) this.#items.splice(place, 0, item);
  }

  delete(item: T): void {
    const place = this.#placeOf(item);
    if (this.#items[place] === item) this.#items.splice(place, 1);
  }

  some(isMatch: (item: T) => boolean): boolean {
    return this.#items.some((item, place) => place >= this.#head && isMatch(item));
  }

  /** Takes out the oldest item; undefined when there is none. */
  take(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    if (this.isEmpty) this.#items.length = 0;
    else if (this.#head * 2 > this.#items.length) this.#items = this.#items.slice(this.#head);
    else return item;
    this.#head = 0;
    return item;
  }

  /** The index of the first item that is not older. */
  #placeOf({ lease }: T): number {
    let low = this.#head;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#items[middle];
      if (other !== undefined && isOlder(other.lease, lease)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
