/**
 * Reserved addresses on disk, in host-local's format: one file per address, named by it, holding the container's
 * id and the interface's name (`id CR LF ifname`); `last_reserved_ip.<set>` is where the search continues.
 *
 * Callers hold the folder's lock. A reservation is a whole file or none: it is written under another name and linked to
 * its own, which fails when the name is taken. Nothing here chooses addresses or makes the folder.
 */

import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { Address } from "../addresses/ip.ts";
import { AddressError } from "../errors.ts";
import { removeBeginningWith, removeIfPresent } from "../files/folder.ts";
import { readOwnFile, readRecord } from "../files/read.ts";
import type { BackgroundSync } from "../files/sync.ts";
import { createFileSync, replaceFileSync } from "../files/write.ts";
import type { Reservation } from "./addresses.ts";
import type { Attachment } from "./attachment.ts";

/** Not addresses, so that every reader of the format skips them. */
const TEMPORARY = ".tulle-new";
const BOOT_ID = ".tulle-boot";

/** As host-local writes them. */
const FORM = { mode: 0o644 };

export class ReservationFiles {
  readonly #dir: string;
  readonly #sync: BackgroundSync | undefined;

  /** With `sync`, a reservation is on the disk once that has finished. */
  constructor(dir: string, sync?: BackgroundSync) {
    this.#dir = dir;
    this.#sync = sync;
  }

  /** Every reserved address, without reading a file. */
  addresses(): readonly Address[] {
    return readdirSync(this.#dir).flatMap((name) => parseAddress(name) ?? []);
  }

  /** Who holds an address; null when it is free. A damaged file, as a power loss leaves it, names no container. */
  holderOf(address: Address): Attachment | null {
    const text = readRecord(this.#pathOf(address));
    if (text === null) return null;
    const [containerId = "", interfaceName = ""] = text.trim().split(/\r?\n/);
    return { containerId, interfaceName };
  }

  /** When an address was reserved, in milliseconds since 1970; 0 when it is free. */
  madeMs(address: Address): number {
    return statSync(this.#pathOf(address), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Every reservation, in no order. */
  list(): readonly Reservation[] {
    return this.addresses().flatMap((address) => {
      const holder = this.holderOf(address);
      return holder === null ? [] : { address, ...holder };
    });
  }

  /** Reserves an address; false when it is taken. */
  reserve(address: Address, { containerId, interfaceName }: Attachment): boolean {
    return createFileSync(
      this.#pathOf(address),
      `${containerId}\r\n${interfaceName}`,
      FORM,
      this.#temporaryPrefix(),
      this.#sync,
    );
  }

  /** Frees an address; freeing a free one is a success. */
  release(address: Address): void {
    removeIfPresent(this.#pathOf(address));
  }

  /** Removes what a process that was killed while it wrote has left. */
  discardUnfinished(): void {
    removeBeginningWith(this.#temporaryPrefix());
  }

  /** The address that range set `index` gave last; null when none is known. */
  lastReserved(index: number): Address | null {
    const text = readOwnFile(this.#lastPath(index));
    return text === null ? null : parseAddress(text.trim());
  }

  setLastReserved(index: number, address: Address): void {
    this.#replace(this.#lastPath(index), String(address));
  }

  /** The boot in which this folder was used last; null when none is recorded. */
  bootId(): string | null {
    return readOwnFile(join(this.#dir, BOOT_ID));
  }

  setBootId(bootId: string): void {
    this.#replace(join(this.#dir, BOOT_ID), bootId);
  }

  #pathOf(address: Address): string {
    return join(this.#dir, String(address));
  }

  #lastPath(index: number): string {
    return join(this.#dir, `last_reserved_ip.${index}`);
  }

  /** Not durable: if a power cut brings the old text back, the next address is merely another one. */
  #replace(file: string, text: string): void {
    replaceFileSync(file, text, FORM, { prefix: this.#temporaryPrefix(), isDurable: false });
  }

  #temporaryPrefix(): string {
    return join(this.#dir, TEMPORARY);
  }
}

function parseAddress(text: string): Address | null {
  try {
    return Address.parse(text);
  } catch (error) {
    if (error instanceof AddressError) return null;
    throw error;
  }
}
