/**
 * Ids of nexthop objects. The plan names a nexthop by device and gateway; the kernel wants a number that is
 * unique on the host, so ours come from a range of their own and never from one that is in use. No I/O.
 */

import type { Nexthop } from "../netlink/nexthop.ts";
import { type NexthopPlace, ROUTE_PROTOCOL } from "../state/contract/kind.ts";

/** `t` in the highest byte; routing daemons count from 1. */
const FIRST_ID = 0x74000000;
const LAST_ID = 0x74ffffff;

type Place = Pick<NexthopPlace, "device" | "gateway">;

export class NexthopIds {
  readonly #idByPlace = new Map<string, number>();
  /** Those in use by the distance from the first of ours: a map takes many times the memory. Null for another program's. */
  #used: (NexthopPlace | null | undefined)[] = [];
  #next = FIRST_ID;

  /** Takes a complete dump; `deviceName` translates indexes. */
  reset(nexthops: readonly Nexthop[], deviceName: (index: number | null) => string): void {
    this.#idByPlace.clear();
    this.#used = [];
    for (const { id, protocol, gateway, outputIndex, isOnlink } of nexthops) {
      const isMarked = protocol === ROUTE_PROTOCOL && gateway !== null;
      const hop = isMarked ? { device: deviceName(outputIndex), gateway, isOnlink } : null;
      if (isOfOurRange(id)) this.#used[id - FIRST_ID] = hop;
      if (hop !== null) this.#idByPlace.set(placeKey(hop), id);
    }
  }

  /** True for an id that a nexthop of ours had at the last dump, or got since. */
  isOurs(id: number): boolean {
    return isOfOurRange(id) && this.#used[id - FIRST_ID] !== undefined;
  }

  /** Where the nexthop of ours with this id leads; undefined when there is none. */
  hopOf(id: number): NexthopPlace | undefined {
    return isOfOurRange(id) ? (this.#used[id - FIRST_ID] ?? undefined) : undefined;
  }

  /** The id of an existing nexthop of ours, undefined when there is none. */
  find(place: Place): number | undefined {
    return this.#idByPlace.get(placeKey(place));
  }

  /** The existing id, or a free one that is reserved from now on. */
  assign({ device, gateway, isOnlink }: NexthopPlace): number {
    const hop = { device, gateway, isOnlink };
    const id = this.find(hop) ?? this.#free();
    if (isOfOurRange(id)) this.#used[id - FIRST_ID] = hop;
    this.#idByPlace.set(placeKey(hop), id);
    return id;
  }

  #free(): number {
    while (this.isOurs(this.#next)) this.#next = this.#next === LAST_ID ? FIRST_ID : this.#next + 1;
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
