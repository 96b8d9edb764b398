/**
 * Proposes addresses of a pool that may be free. What is known may be old: the store decides. Pure.
 *
 * The lowest is proposed first, because people expect .2 and .3. A host that lost a race for one goes on at a random
 * place, or hosts that start together would race for every address.
 */

import { Address } from "../addresses/ip.ts";
import type { Pool } from "./named-network.ts";
import { containerAddressProblem, poolSize } from "./network-rules.ts";

/** Random places are chosen among so many addresses, or four times as many as are taken, so that they stay low. */
const LEAST_SPAN = 256;

export class FreeAddresses {
  readonly #pool: Pool;
  readonly #random: () => number;
  readonly #taken = new Set<bigint>();
  /** Every address below this offset is taken or cannot be given. */
  #cursor = 0n;
  #hasCollided = false;

  constructor(pool: Pool, random: () => number) {
    this.#pool = pool;
    this.#random = random;
  }

  /** Replaces what is known by the addresses of a listing. */
  learn(taken: Iterable<Address>): void {
    this.#taken.clear();
    this.#cursor = 0n;
    for (const address of taken) this.#taken.add(address.value);
  }

  /** Another host was faster. */
  collided(address: Address): void {
    this.#taken.add(address.value);
    this.#hasCollided = true;
  }

  /** This host holds it now. */
  took(address: Address): void {
    this.#taken.add(address.value);
    this.#hasCollided = false;
  }

  freed(address: Address): void {
    this.#taken.delete(address.value);
    const offset = address.value - this.#pool.allocation.base.value;
    if (offset >= 0n && offset < this.#cursor) this.#cursor = offset;
  }

  /** An address that is not known to be taken and that `isBusy` does not exclude; null when there is none. */
  next(isBusy: (address: Address) => boolean): Address | null {
    const size = poolSize(this.#pool);
    const start = this.#hasCollided ? this.#randomOffset(size) : this.#cursor;
    const found = this.#search(start, size, isBusy) ?? this.#search(this.#cursor, start, isBusy);
    return found;
  }

  #search(from: bigint, end: bigint, isBusy: (address: Address) => boolean): Address | null {
    const { allocation } = this.#pool;
    let isContiguous = from === this.#cursor;
    for (let offset = from; offset < end; offset += 1n) {
      const value = allocation.base.value + offset;
      const address = Address.of(allocation.family, value);
      const isUsable = !this.#taken.has(value) && containerAddressProblem(this.#pool, address) === null;
      if (isUsable && !isBusy(address)) return address;
      isContiguous &&= !isUsable;
      if (isContiguous) this.#cursor = offset + 1n;
    }
    return null;
  }

  #randomOffset(size: bigint): bigint {
    const span = BigInt(Math.max(LEAST_SPAN, this.#taken.size * 4));
    const room = Number((span < size ? span : size) - this.#cursor);
    return room <= 0 ? this.#cursor : this.#cursor + BigInt(Math.floor(this.#random() * room));
  }
}
