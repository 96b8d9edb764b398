/**
 * Reserved addresses on disk, in host-local's format: one file per address, named by it, holding the container's
 * id and the interface's name (`id CR LF ifname`); `last_reserved_ip.<set>` remembers where to go on.
 *
 * Callers hold the folder's lock. A reservation is a whole file or none: it is written beside, synced and linked
 * to its name, which fails when the name is taken. Nothing here chooses addresses or makes the folder.
 */

import { readdirSync } from "node:fs";
import path from "node:path";
import { Address } from "../../ipam/addresses/ip.ts";
import { AddressError } from "../../ipam/errors.ts";
import {
  createFileSync,
  readOwnFile,
  removeBeginningWith,
  removeIfPresent,
  replaceFileSync,
} from "../../ipam/files.ts";

/** One interface of one container. */
export interface Attachment {
  readonly containerId: string;
  /** Empty in files of early host-local versions and of flannel, which then stand for every interface. */
  readonly interfaceName: string;
}

export interface Reservation extends Attachment {
  readonly address: Address;
}

/** Names that are no address, so that every reader of the format passes them over. */
const TEMPORARY = ".tulle-new";
const BOOT_ID = ".tulle-boot";

/** As host-local writes them. */
const FORM = { mode: 0o644 };

export class Reservations {
  readonly #dir: string;

  constructor(dataDir: string, networkName: string) {
    this.#dir = path.join(dataDir, networkName);
  }

  /** Every reservation, in no order. A file of zero length, as a power loss leaves it, has an empty container id. */
  list(): readonly Reservation[] {
    const reservations: Reservation[] = [];
    for (const name of readdirSync(this.#dir)) {
      const address = parseAddress(name);
      if (address === null) continue;
      const text = readOwnFile(path.join(this.#dir, name)) ?? "";
      const [containerId = "", interfaceName = ""] = text.trim().split(/\r?\n/);
      reservations.push({ address, containerId, interfaceName });
    }
    return reservations;
  }

  /** Reserves an address; false when it is taken. */
  reserve(address: Address, { containerId, interfaceName }: Attachment): boolean {
    const file = path.join(this.#dir, String(address));
    return createFileSync(file, `${containerId}\r\n${interfaceName}`, FORM, this.#temporaryPrefix());
  }

  /** Frees an address; freeing a free one is a success. */
  release(address: Address): void {
    removeIfPresent(path.join(this.#dir, String(address)));
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

  /** The boot in which this folder was used last; null when nobody noted it. */
  bootId(): string | null {
    return readOwnFile(path.join(this.#dir, BOOT_ID));
  }

  setBootId(bootId: string): void {
    this.#replace(path.join(this.#dir, BOOT_ID), bootId);
  }

  #lastPath(index: number): string {
    return path.join(this.#dir, `last_reserved_ip.${index}`);
  }

  /** Not durable: if a power cut brings the old text back, the next address is merely another one. */
  #replace(file: string, text: string): void {
    replaceFileSync(file, text, FORM, { prefix: this.#temporaryPrefix(), isDurable: false });
  }

  #temporaryPrefix(): string {
    return path.join(this.#dir, TEMPORARY);
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

/** True when what `holder` names, a reservation or a record, belongs to `attachment`. */
export function isHeldBy(holder: Attachment, attachment: Attachment): boolean {
  return (
    holder.containerId === attachment.containerId &&
    (holder.interfaceName === attachment.interfaceName || holder.interfaceName === "")
  );
}
