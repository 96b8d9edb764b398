/**
 * Reserved addresses on disk, in host-local's format: one file per address, named by it, holding the container's
 * id and the interface's name (`id CR LF ifname`); `last_reserved_ip.<set>` remembers where to go on.
 *
 * Callers hold the folder's lock. A reservation is a whole file or none: it is written beside, synced and linked
 * to its name, which fails when the name is taken. Nothing here chooses addresses.
 */

import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { isIP } from "node:net";
import path from "node:path";
import { Address } from "../../ipam/ip.ts";

/** Who holds an address. */
export interface Attachment {
  readonly containerId: string;
  /** Empty in files of early host-local versions, which then stand for every interface. */
  readonly interfaceName: string;
}

export interface Reservation extends Attachment {
  readonly address: Address;
}

/** Names that are no address, so that every reader of the format passes them over. */
const TEMPORARY = ".tulle-new";

export class Reservations {
  readonly #dir: string;

  /** Opens the folder of one network and makes it when it is missing. Throws what the file system throws. */
  constructor(dataDir: string, networkName: string) {
    this.#dir = path.join(dataDir, networkName);
    mkdirSync(this.#dir, { recursive: true, mode: 0o755 });
  }

  /** Every reservation, in no order. A file of zero length, as a power loss leaves it, has an empty container id. */
  list(): readonly Reservation[] {
    const reservations: Reservation[] = [];
    for (const name of readdirSync(this.#dir)) {
      if (isIP(name) === 0) continue;
      const [containerId = "", interfaceName = ""] = readFileSync(path.join(this.#dir, name), "utf8")
        .trim()
        .split(/\r?\n/);
      reservations.push({ address: Address.parse(name), containerId, interfaceName });
    }
    return reservations;
  }

  /** Reserves an address; false when it is taken. */
  reserve(address: Address, { containerId, interfaceName }: Attachment): boolean {
    const temporary = path.join(this.#dir, TEMPORARY);
    writeSynced(temporary, `${containerId}\r\n${interfaceName}`);
    try {
      linkSync(temporary, path.join(this.#dir, String(address)));
    } catch (error) {
      if (isErrno(error, "EEXIST")) return false;
      throw error;
    } finally {
      rmSync(temporary, { force: true });
    }
    syncFolder(this.#dir);
    return true;
  }

  /** Frees an address; freeing a free one is a success. */
  release(address: Address): void {
    rmSync(path.join(this.#dir, String(address)), { force: true });
  }

  /** The address that range set `index` gave last; null when none is known. */
  lastReserved(index: number): Address | null {
    try {
      const text = readFileSync(this.#lastPath(index), "utf8").trim();
      return isIP(text) === 0 ? null : Address.parse(text);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return null;
      throw error;
    }
  }

  setLastReserved(index: number, address: Address): void {
    const temporary = path.join(this.#dir, TEMPORARY);
    writeSynced(temporary, String(address));
    renameSync(temporary, this.#lastPath(index));
  }

  #lastPath(index: number): string {
    return path.join(this.#dir, `last_reserved_ip.${index}`);
  }
}

/** True when `reservation` belongs to `attachment`. */
export function isHeldBy(reservation: Reservation, attachment: Attachment): boolean {
  return (
    reservation.containerId === attachment.containerId &&
    (reservation.interfaceName === attachment.interfaceName || reservation.interfaceName === "")
  );
}

function writeSynced(file: string, text: string): void {
  const fd = openSync(file, "w", 0o644);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncFolder(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
