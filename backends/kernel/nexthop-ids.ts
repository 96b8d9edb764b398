/**
 * Ids of nexthop objects. The plan names a nexthop by device and gateway; the kernel wants a number that is
 * unique on the host, so ours come from a range of their own and never from one that is in use. No I/O.
 */

import type { Nexthop } from "../netlink/nexthop.ts";
import { ROUTE_PROTOCOL } from "../state/contract/kind.ts";
import type { NexthopObject } from "../state/kinds/nexthop.ts";

/** `t` in the highest byte; routing daemons count from 1. */
const FIRST_ID = 0x74000000;
const LAST_ID = 0x74ffffff;

type Place = Pick<NexthopObject, "device" | "gateway">;

export class NexthopIds {
  readonly #idByPlace = new Map<string, number>();
  /** By the distance from the first of ours: a set of numbers takes many times the memory. */
  #used: boolean[] = [];
  #next = FIRST_ID;

  /** Takes a complete dump; `deviceName` translates indexes. */
  reset(nexthops: readonly Nexthop[], deviceName: (index: number | null) => string): void {
    this.#idByPlace.clear();
    this.#used = [];
    for (const nexthop of nexthops) {
      if (isOfOurRange(nexthop.id)) this.#used[nexthop.id - FIRST_ID] = true;
      if (nexthop.protocol !== ROUTE_PROTOCOL || nexthop.gateway === null) continue;
      this.#idByPlace.set(
        placeKey({ device: deviceName(nexthop.outputIndex), gateway: nexthop.gateway }),
        nexthop.id,
      );
    }
  }

  /** True for an id that a nexthop of ours had at the last dump, or got since. */
  isOurs(id: number): boolean {
    return isOfOurRange(id) && this.#used[id - FIRST_ID] === true;
  }

  /** The id of an existing nexthop of ours, undefined when there is none. */
  find(place: Place): number | undefined {
    return this.#idByPlace.get(placeKey(place));
  }

  /** The existing id, or a free one that is reserved from now on. */
  assign(place: Place): number {
    const known = this.find(place);
    if (known !== undefined) return known;
    while (this.isOurs(this.#next)) this.#next = this.#next === LAST_ID ? FIRST_ID : this.#next + 1;
    this.#used[this.#next - FIRST_ID] = true;
    this.#idByPlace.set(placeKey(place), this.#next);
    return this.#next;
  }

  /** The nexthop is gone. Its number is not given out again before the next dump. */
  release(place: Place): void {
    this.#idByPlace.delete(placeKey(place));
  }
}

function isOfOurRange(id: number): boolean {
  return id >= FIRST_ID && id <= LAST_ID;
}

function placeKey({ device, gateway }: Place): string {
  return `${device} ${gateway}`;
}
