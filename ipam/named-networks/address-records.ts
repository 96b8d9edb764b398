/** The records of addresses in the store: who holds which. Every change is a compare-and-swap. */

import type { Address } from "../addresses/ip.ts";
import { CodecError, ConflictError } from "../errors.ts";
import { isOutcomeUnknown } from "../stores/answers.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import { parseObject, textField } from "./fields.ts";
import type { HostId, NetworkId } from "./named-network.ts";
import { addressFolder, addressRecord, isHostId, parseAddressRecord } from "./record-names.ts";

const MAX_NAME = 253;

/** A host that holds an address. */
export interface Holder {
  readonly host: HostId;
  /** The host name, for people. */
  readonly name: string;
}

/** An address and its record. */
export interface HeldAddress {
  readonly network: NetworkId;
  readonly address: Address;
  /** Null when the record is damaged: the address counts as taken. */
  readonly holder: Holder | null;
  readonly entry: StoreEntry;
}

export class AddressRecords {
  readonly #records: Records;
  readonly #self: Holder;

  constructor(records: Records, self: Holder) {
    this.#records = records;
    this.#self = self;
  }

  /** All addresses of a network that any host holds. Throws StoreError. */
  async list(network: NetworkId, signal: AbortSignal): Promise<readonly HeldAddress[]> {
    return (await this.#records.list(addressFolder(network), signal)).flatMap((entry) => heldOf(entry) ?? []);
  }

  /** Null when no host holds it. Throws StoreError. */
  async read(network: NetworkId, address: Address, signal: AbortSignal): Promise<HeldAddress | null> {
    const entry = await this.#records.read(addressRecord(network, address), signal);
    return entry === null ? null : heldOf(entry);
  }

  /** Takes an address that no host holds; false when one does. Throws StoreError. */
  async claim(network: NetworkId, address: Address, signal: AbortSignal): Promise<boolean> {
    return await this.#write(network, address, null, this.#self, signal);
  }

  /** Gives the address to another holder, if its record is unchanged. Throws StoreError. */
  async transfer(held: HeldAddress, to: Holder, signal: AbortSignal): Promise<boolean> {
    return await this.#write(held.network, held.address, held.entry, to, signal);
  }

  /** Takes the address of another holder, if its record is unchanged. Throws StoreError. */
  async takeOver(held: HeldAddress, signal: AbortSignal): Promise<boolean> {
    return await this.transfer(held, this.#self, signal);
  }

  /** Deletes this host's record of the address; another host's stays. Throws StoreError. */
  async giveBack(network: NetworkId, address: Address, signal: AbortSignal): Promise<void> {
    const held = await this.read(network, address, signal);
    if (held?.holder?.host !== this.#self.host) return;
    try {
      await this.#records.remove(held.entry, signal);
    } catch (error) {
      // Another hand changed it: it is not this host's to delete any more.
      if (!(error instanceof ConflictError)) throw error;
    }
  }

  async #write(
    network: NetworkId,
    address: Address,
    expected: StoreEntry | null,
    holder: Holder,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await this.#records.write(addressRecord(network, address), encodeHolder(holder), expected, signal);
      return true;
    } catch (error) {
      if (error instanceof ConflictError) return false;
      if (!isOutcomeUnknown(error)) throw error;
    }
    const held = await this.read(network, address, signal);
    return held?.holder?.host === holder.host;
  }
}

export function encodeHolder({ host, name }: Holder): string {
  return JSON.stringify({ host, name });
}

/** What a record says; null for a key that names no address. */
export function heldOf(entry: StoreEntry): HeldAddress | null {
  const parsed = parseAddressRecord(entry.key);
  return parsed && { ...parsed, holder: holderOrNull(entry.value), entry };
}

function holderOrNull(text: string): Holder | null {
  try {
    const root = parseObject(text);
    const host = textField(root, "host", MAX_NAME);
    return isHostId(host) ? { host, name: textField(root, "name", MAX_NAME) } : null;
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}
