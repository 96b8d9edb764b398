/**
 * The addresses of this host in one network, between its disk (holdings.ts) and the store (address-records.ts).
 *
 * An address moves by one operation at a time (`#busy`). It leaves this host in the order disk, store, and comes in the
 * order store, disk: whenever the host dies, the store shows it as this host's at least as long as the disk does.
 */

import { Address, type Family } from "../addresses/ip.ts";
import type { AddressRecords, HeldAddress, Holder } from "./address-records.ts";
import { FreeAddresses } from "./free-addresses.ts";
import type { Answer, Wanted } from "./handover.ts";
import type { Holdings } from "./holdings.ts";
import type { HostId, NamedNetwork, Pool } from "./named-network.ts";
import { containerAddressProblem, poolSize } from "./network-rules.ts";
import { inParallel } from "./record-removal.ts";

/** Requests to the store under way at a time. */
const PARALLEL = 16;

/** A reserve never has more addresses, and no more than this part of the pool: other hosts want some as well. */
const MOST_IN_RESERVE = 32;
const LEAST_IN_RESERVE = 4;
const PART_OF_POOL = 50n;

export interface HostAddressesOptions {
  readonly holdings: Holdings;
  readonly records: AddressRecords;
  readonly self: HostId;
  readonly random: () => number;
}

export class HostAddresses {
  readonly holdings: Holdings;
  readonly #records: AddressRecords;
  readonly #self: HostId;
  readonly #random: () => number;
  readonly #free = new Map<Family, FreeAddresses>();
  readonly #busy = new Set<string>();
  /** Families without a free address in the store, until something is known to have changed. */
  readonly #full = new Set<Family>();
  /** Given here, though the store says that another host holds them. */
  readonly #conflicts = new Map<string, string>();

  constructor({ holdings, records, self, random }: HostAddressesOptions) {
    this.holdings = holdings;
    this.#records = records;
    this.#self = self;
    this.#random = random;
  }

  get network(): NamedNetwork {
    return this.holdings.network;
  }

  /** One sentence for each address that another host holds too. */
  get problems(): readonly string[] {
    return [...this.#conflicts].map(
      ([address, holder]) =>
        `network ${this.network.name}: address ${address} of a container here belongs to host ${holder}; restart the container`,
    );
  }

  /** How many unused addresses this host should have. */
  target(family: Family): number {
    const pool = this.network.pools[family];
    if (pool === undefined) return 0;
    const share = poolSize(pool) / PART_OF_POOL;
    const most = share < BigInt(MOST_IN_RESERVE) ? Math.max(1, Number(share)) : MOST_IN_RESERVE;
    return Math.min(most, Math.max(LEAST_IN_RESERVE, Math.ceil(this.holdings.givenCount(family) / 2)));
  }

  /** An unused address of the reserve, given to the endpoint in memory; null when there is none. */
  takeFromReserve(family: Family, endpoint: string | null): Address | null {
    const pool = this.network.pools[family];
    if (pool === undefined) return null;
    const address = this.holdings
      .reserve(family)
      .find((each) => pool.allocation.contains(each) && !this.#isBusy(each) && isUsable(pool, each));
    if (address === undefined) return null;
    this.holdings.give(address, endpoint);
    return address;
  }

  /** The same for one address. */
  takeHeld(address: Address, endpoint: string | null): boolean {
    if (!this.holdings.has(address) || this.holdings.isGiven(address) || this.#isBusy(address)) return false;
    this.holdings.give(address, endpoint);
    return true;
  }

  /**
   * Takes a free address from the store into the reserve, or to an endpoint; null when there is none. Throws StoreError.
   */
  async acquire(family: Family, signal: AbortSignal): Promise<Address | null> {
    const free = this.#freeAddresses(family);
    if (free === null) return null;
    let isListed = false;
    while (true) {
      const address = free.next((each) => this.#isBusy(each) || this.holdings.has(each));
      if (address !== null) {
        if (await this.#claim(address, free, signal)) return address;
      } else if (isListed) return null;
      else {
        isListed = true;
        await this.list(signal);
      }
    }
  }

  /** Takes this address from the store; false when a host holds it. Throws StoreError. */
  async acquireOne(address: Address, signal: AbortSignal): Promise<boolean> {
    if (this.#isBusy(address)) return false;
    return await this.#claim(address, this.#freeAddresses(address.family), signal);
  }

  /**
   * Takes what another host gave to this one in the store into the reserve, where a comparison may have put it already.
   * False when the store does not show it any more. Throws StoreError.
   */
  async adopt(address: Address, signal: AbortSignal): Promise<boolean> {
    if (this.#isBusy(address)) return false;
    await this.#alone(address, () => this.#confirm(address, false, signal));
    return this.holdings.has(address);
  }

  /** Takes the address of a host that is gone into the reserve; false when its record changed. Throws StoreError. */
  async inherit(held: HeldAddress, signal: AbortSignal): Promise<boolean> {
    if (this.#isBusy(held.address)) return false;
    return await this.#alone(held.address, async () => {
      if (!(await this.#records.takeOver(held, signal))) return false;
      this.#add(held.address, false);
      return true;
    });
  }

  /** All addresses of the network that any host holds. Throws StoreError. */
  async list(signal: AbortSignal): Promise<readonly HeldAddress[]> {
    const listed = await this.#records.list(this.network.id, signal);
    for (const [family, free] of this.#free) {
      free.learn(listed.map(({ address }) => address).filter((address) => address.family === family));
    }
    return listed;
  }

  /** Fills the reserve, and gives what is too much back to the store. Throws StoreError. */
  async level(family: Family, signal: AbortSignal): Promise<void> {
    const target = this.target(family);
    const pool = this.network.pools[family];
    const reserve = this.holdings.reserve(family);
    const useful = reserve.filter((each) => pool?.allocation.contains(each) && isUsable(pool, each));
    const missing = target - useful.length;
    if (missing > 0 && !this.#full.has(family)) {
      const wanted = Array.from({ length: missing }, () => family);
      const found = await inParallel(wanted, PARALLEL, (each) => this.acquire(each, signal));
      if (found.includes(null)) this.#full.add(family);
      if (found.some((address) => address !== null)) await this.holdings.persist();
    }
    const useless = reserve.filter((each) => !useful.includes(each));
    const surplus = useful.length > target * 2 ? useful.slice(target) : [];
    await this.#giveBack([...useless, ...surplus], signal);
  }

  /** Gives all unused addresses back to the store. Throws StoreError, and what the file system throws. */
  async leave(signal: AbortSignal): Promise<void> {
    const { holdings } = this;
    await this.#giveBack([...holdings.reserve(4), ...holdings.reserve(6)], signal);
  }

  /** Gives an unused address to another host. Throws StoreError, and what the file system throws. */
  async handOver(wanted: Wanted, to: Holder, signal: AbortSignal): Promise<Answer> {
    const address =
      wanted instanceof Address
        ? wanted
        : this.holdings.reserve(wanted).findLast((each) => !this.#isBusy(each));
    if (address === undefined || !this.holdings.has(address))
      return { refusal: "that host has none to spare" };
    if (this.holdings.isGiven(address)) return { refusal: this.#useOf(address) };
    if (this.#isBusy(address)) return { refusal: "that host is moving it; try again" };
    return await this.#alone(address, async () => {
      this.holdings.drop(address);
      await this.holdings.persist();
      const held = await this.#records.read(this.network.id, address, signal);
      const isOurs = held?.holder?.host === this.#self;
      if (isOurs && (await this.#records.transfer(held, to, signal))) return { address };
      return { refusal: "that host does not hold it any more" };
    });
  }

  /**
   * Compares with the store: takes what a crash left unrecorded, drops what is another's, writes again what is missing.
   * Throws StoreError, and what the file system throws.
   */
  async audit(signal: AbortSignal): Promise<void> {
    const listed = await this.list(signal);
    this.#full.clear();
    const ours = listed.filter(({ holder }) => holder?.host === this.#self);
    const names = new Set(ours.map(({ address }) => address.toString()));
    const unknown = ours.map(({ address }) => address).filter((each) => !this.holdings.has(each));
    const missing = this.holdings.addresses.filter((each) => !names.has(each.toString()));
    const settled = await inParallel(unknown, PARALLEL, (address) => this.#auditUnknown(address, signal));
    await inParallel(missing, PARALLEL, (address) => this.#auditMissing(address, signal));
    for (const [text] of this.#conflicts) if (names.has(text)) this.#conflicts.delete(text);
    const isNews = unknown.length > 0 || missing.length > 0 || !this.holdings.isComplete;
    // One that is under way may be a container's: the next comparison must still take it for given.
    if (!settled.includes(false)) this.holdings.markComplete();
    if (isNews) await this.holdings.persist();
  }

  /** Back into the reserve, unless another host holds it. */
  release(address: Address): void {
    if (this.#conflicts.delete(address.toString())) this.holdings.drop(address);
    else this.holdings.release(address);
  }

  /**
   * In the store this host's, on the disk not: a crash came between. The record is written again, so that a late deletion
   * of ours fails. Without a complete file a container may have it.
   */
  async #auditUnknown(address: Address, signal: AbortSignal): Promise<boolean> {
    if (this.#isBusy(address)) return false;
    await this.#alone(address, () => this.#confirm(address, !this.holdings.isComplete, signal));
    return this.holdings.has(address);
  }

  /** Adds an address that the store shows as this host's. */
  async #confirm(address: Address, isGiven: boolean, signal: AbortSignal): Promise<void> {
    const held = await this.#records.read(this.network.id, address, signal);
    if (held?.holder?.host !== this.#self || this.holdings.has(address)) return;
    if (await this.#records.takeOver(held, signal)) this.#add(address, isGiven);
  }

  #add(address: Address, isGiven: boolean): void {
    this.holdings.add(address, isGiven);
    this.#freeAddresses(address.family)?.took(address);
  }

  /** On the disk this host's, in the store not: deleted by hand, or another host's by now. */
  async #auditMissing(address: Address, signal: AbortSignal): Promise<void> {
    if (this.#isBusy(address)) return;
    await this.#alone(address, async () => {
      const { id } = this.network;
      const held = await this.#records.read(id, address, signal);
      if (held?.holder?.host === this.#self || !this.holdings.has(address)) return;
      if (!this.holdings.isGiven(address)) this.holdings.drop(address);
      else if (held !== null) this.#conflicts.set(address.toString(), held.holder?.name ?? "unknown");
      else await this.#records.claim(id, address, signal);
    });
  }

  async #giveBack(addresses: readonly Address[], signal: AbortSignal): Promise<void> {
    const leaving = addresses.filter(
      (each) => this.holdings.has(each) && !this.holdings.isGiven(each) && !this.#isBusy(each),
    );
    if (leaving.length === 0) return;
    for (const address of leaving) this.#busy.add(address.toString());
    try {
      for (const address of leaving) this.holdings.drop(address);
      await this.holdings.persist();
      await inParallel(leaving, PARALLEL, async (address) => {
        await this.#records.giveBack(this.network.id, address, signal);
        this.#freeAddresses(address.family)?.freed(address);
        this.#full.delete(address.family);
      });
    } finally {
      for (const address of leaving) this.#busy.delete(address.toString());
    }
  }

  async #claim(address: Address, free: FreeAddresses | null, signal: AbortSignal): Promise<boolean> {
    return await this.#alone(address, async () => {
      if (!(await this.#records.claim(this.network.id, address, signal))) {
        free?.collided(address);
        return false;
      }
      this.#add(address, false);
      return true;
    });
  }

  #freeAddresses(family: Family): FreeAddresses | null {
    const known = this.#free.get(family);
    const pool = this.network.pools[family];
    if (known !== undefined || pool === undefined) return known ?? null;
    const free = new FreeAddresses(pool, this.#random);
    this.#free.set(family, free);
    return free;
  }

  #useOf(address: Address): string {
    const endpoint = this.holdings.endpointOf(address);
    return endpoint === null ? "a container there uses it" : `endpoint ${endpoint} there uses it`;
  }

  #isBusy(address: Address): boolean {
    return this.#busy.has(address.toString());
  }

  async #alone<T>(address: Address, work: () => Promise<T>): Promise<T> {
    const key = address.toString();
    this.#busy.add(key);
    try {
      return await work();
    } finally {
      this.#busy.delete(key);
    }
  }
}

function isUsable(pool: Pool, address: Address): boolean {
  return containerAddressProblem(pool, address) === null;
}
