/**
 * The contract for addresses of containers: who holds which, and how one gets and frees them. What keeps them, files of
 * this host or a store, is an implementation's matter.
 */

import type { Address } from "../addresses/ip.ts";
import type { Attachment } from "./attachment.ts";
import type { AddressRequest, Allocation } from "./ranges.ts";

export interface Reservation extends Attachment {
  readonly address: Address;
}

/** The addresses of one network's containers on this host. */
export interface ContainerAddresses {
  /** Every reservation, in no order. A damaged one has an empty container id. */
  list(): Promise<readonly Reservation[]>;

  /**
   * Called before `reserve`. Frees what earlier boots of this host left, except for what `isAlive`, and returns its
   * holders. Throws ConfigError when the attachment holds addresses already.
   */
  prepare(
    attachment: Attachment,
    isAlive: (attachment: Attachment) => boolean,
  ): Promise<readonly Attachment[]>;

  /**
   * Reserves one address of each range set, all or none. Throws ConfigError for a requested address that cannot be
   * given and NoFreeAddressError when a set has none left.
   */
  reserve(request: AddressRequest, attachment: Attachment): Promise<readonly Allocation[]>;

  /** Succeeds when every range set has an address left. Throws NoFreeAddressError. */
  requireRoom(request: AddressRequest): Promise<void>;

  /**
   * Frees reservations; those that changed hands since are left alone and absence is a success. When none remains in
   * the network, runs `whenEmpty` before another process can reserve.
   */
  release(held: readonly Reservation[], whenEmpty?: () => Promise<void>): Promise<void>;
}
