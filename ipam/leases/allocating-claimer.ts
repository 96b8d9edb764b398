/** The claimer for stores in which each host allocates its subnet itself, by compare-and-swap of lease keys. */

import type { StoreEntry, StoreListing } from "../stores/contracts.ts";
import type { ClaimRequest, LeaseClaimer, LostLease, Membership, Recovery } from "./claimer.ts";
import { type AllocationOptions, join, requireSubnet } from "./join.ts";
import { recoverLease } from "./lease-recovery.ts";
import { withdrawLease } from "./withdrawal.ts";

export class AllocatingClaimer implements LeaseClaimer {
  readonly #options: AllocationOptions;

  constructor(options: AllocationOptions) {
    this.#options = options;
  }

  async acquire(request: ClaimRequest, listing: StoreListing, signal: AbortSignal): Promise<Membership> {
    return await join({ ...this.#options, ...request }, listing, signal);
  }

  async examine(request: ClaimRequest, listing: StoreListing, signal: AbortSignal): Promise<void> {
    await requireSubnet({ ...this.#options, ...request }, listing, signal);
  }

  async publish(entry: StoreEntry, value: string, signal: AbortSignal): Promise<StoreEntry> {
    return await this.#options.store.leases.replace(entry, value, null, signal);
  }

  async keep(entry: StoreEntry, signal: AbortSignal): Promise<number> {
    return await this.#options.store.leases.keepAlive(entry, signal);
  }

  async recover(lost: LostLease, signal: AbortSignal): Promise<Recovery> {
    return await recoverLease(this.#options, lost, signal);
  }

  async release(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    await withdrawLease(this.#options.store.leases, entry, signal);
  }
}
