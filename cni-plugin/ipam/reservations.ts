/**
 * Reserved addresses on disk, in host-local's format: one file per address, named by it, holding the container's
 * id and the interface's name (`id CR LF ifname`); `last_reserved_ip.<set>` remembers where to go on.
 *
 * Callers hold the folder's lock. A reservation is a whole file or none: it is written beside, synced and linked
 * to its name, which fails when the name is taken. Nothing here chooses addresses or makes the folder.
 */

import { linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Address } from "../../ipam/addresses/ip.ts";
import { AddressError } from "../../ipam/errors.ts";
import { hasCode, readIfPresent, removeIfPresent, syncFolder, writeSynced } from "../files.ts";

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
      const [containerId = "", interfaceName = ""] = readFileSync(path.join(this.#dir, name), "utf8")
        .trim()
        .split(/\r?\n/);
      reservations.push({ address, containerId, interfaceName });
    }
    return reservations;
  }

  /** Reserves an address; false when it is taken. */
  reserve(address: Address, { containerId, interfaceName }: Attachment): boolean {
    const temporary = path.join(this.#dir, TEMPORARY);
    try {
      writeSynced(temporary, `${containerId}\r\n${interfaceName}`, 0o644);
      linkSync(temporary, path.join(this.#dir, String(address)));
    } catch (error) {
      if (hasCode(error, "EEXIST")) return false;
      throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
    syncFolder(this.#dir);
    return true;
  }

  /** Frees an address; freeing a free one is a success. */
  release(address: Address): void {
    removeIfPresent(path.join(this.#dir, String(address)));
  }

  /** Removes what a process that was killed while it wrote has left. */
  discardUnfinished(): void {
    removeIfPresent(path.join(this.#dir, TEMPORARY));
  }

  /** The address that range set `index` gave last; null when none is known. */
  lastReserved(index: number): Address | null {
    const text = readIfPresent(this.#lastPath(index));
    return text === null ? null : parseAddress(text.trim());
  }

  setLastReserved(index: number, address: Address): void {
    this.#replace(this.#lastPath(index), String(address));
  }

  /** The boot in which this folder was used last; null when nobody noted it. */
  bootId(): string | null {
    return readIfPresent(path.join(this.#dir, BOOT_ID));
  }

  setBootId(bootId: string): void {
    this.#replace(path.join(this.#dir, BOOT_ID), bootId);
  }

  #lastPath(index: number): string {
    return path.join(this.#dir, `last_reserved_ip.${index}`);
  }

  /** Not synced: if a power loss takes it, the next address is merely another one. */
  #replace(file: string, text: string): void {
    const temporary = path.join(this.#dir, TEMPORARY);
    writeFileSync(temporary, text, { mode: 0o644 });
    renameSync(temporary, file);
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
