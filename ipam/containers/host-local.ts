/**
 * Addresses of containers in a folder of this host, shared with the plugin host-local: its files, its lock.
 *
 * No container outlives the boot it was started in, so that addresses reserved before it are free: runtimes that
 * forgot such containers never ask to remove them. A marker beside the reservations records the boot in which tulle used
 * or met them; after another one, those older than this boot are free. host-local may have made others since then, and
 * what it made in a folder without a marker stays, for the clock may have been wrong when this boot began.
 *
 * Networks of other names may give addresses of the same subnet, because all of this host's get theirs from one
 * subnet.env. An address that any folder beside this one has is not given again, under a lock that all folders share.
 */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Address } from "../addresses/ip.ts";
import { ConfigError } from "../errors.ts";
import { makeFolder } from "../files/folder.ts";
import type { BackgroundSync } from "../files/sync.ts";
import type { ContainerAddresses, Reservation } from "./addresses.ts";
import { type Attachment, isHeldBy } from "./attachment.ts";
import { type AddressRequest, type Allocation, chooseAddress, requireObtainable } from "./ranges.ts";
import { ReservationFiles } from "./reservation-files.ts";

/** Runs `work` while no other process holds flock(2) on the file `lock` of the folder. */
export type FolderLock = <T>(folder: string, work: () => T | Promise<T>) => Promise<T>;

export interface HostLocalOptions {
  /** The folder of all networks of this host. */
  readonly dataDir: string;
  /** Its reservations are in the folder of this name, which the first one creates. */
  readonly network: string;
  readonly lock: FolderLock;
  /** A new text for every boot of this host (/proc/sys/kernel/random/boot_id). */
  readonly readBootId: () => string;
  /** When this boot began, by the clock of files, in milliseconds since 1970. */
  readonly readBootStartMs: () => number;
  /** With it, a reservation is on the disk once this has finished, and not when it is returned. */
  readonly sync?: BackgroundSync | undefined;
}

/** For the lock that all networks share. No network has such a name (CNI's SPEC.md, "Network configuration"). */
const SHARED = ".tulle";

/** All of it throws what the file system throws. */
export class HostLocalAddresses implements ContainerAddresses {
  readonly #dataDir: string;
  readonly #network: string;
  readonly #folder: string;
  readonly #lock: FolderLock;
  readonly #readBootId: () => string;
  readonly #readBootStartMs: () => number;
  readonly #files: ReservationFiles;

  constructor({ dataDir, network, lock, readBootId, readBootStartMs, sync }: HostLocalOptions) {
    this.#dataDir = dataDir;
    this.#network = network;
    this.#folder = join(dataDir, network);
    this.#lock = lock;
    this.#readBootId = readBootId;
    this.#readBootStartMs = readBootStartMs;
    this.#files = new ReservationFiles(this.#folder, sync);
  }

  async list(): Promise<readonly Reservation[]> {
    return (await this.#ifUsed(() => this.#files.list())) ?? [];
  }

  /** When an address was reserved, in milliseconds since 1970; 0 when it is free. */
  madeMs(address: Address): number {
    return this.#files.madeMs(address);
  }

  /** The reservations made in an earlier boot; none in a folder without a marker. */
  async listOfEarlierBoots(): Promise<readonly Reservation[]> {
    return (await this.#ifUsed(() => this.#ofEarlierBoots(this.#files.list()))) ?? [];
  }

  async prepare(
    attachment: Attachment,
    isAlive: (attachment: Attachment) => boolean,
  ): Promise<readonly Attachment[]> {
    makeFolder(this.#folder, 0o755);
    return this.#lock(this.#folder, () => {
      const reserved = this.#files.list();
      const gone = this.#reclaim(reserved, isAlive);
      const held = reserved.find(
        (reservation) => isHeldBy(reservation, attachment) && !gone.includes(reservation),
      );
      if (held === undefined) return gone;
      throw new ConfigError(
        `${held.address} is already given to ${attachment.containerId} ${attachment.interfaceName}; delete it first`,
      );
    });
  }

  /** Frees what earlier boots left, except for what `isAlive`, and returns its holders. */
  async reclaimEarlierBoots(isAlive: (attachment: Attachment) => boolean): Promise<readonly Attachment[]> {
    return (await this.#ifUsed(() => this.#reclaim(this.#files.list(), isAlive))) ?? [];
  }

  async reserve(request: AddressRequest, attachment: Attachment): Promise<readonly Allocation[]> {
    requireObtainable(request);
    return this.#lockAll(() => {
      this.#markOthers();
      const taken = this.#taken();
      const given: Allocation[] = [];
      try {
        for (const [index, set] of request.rangeSets.entries()) {
          const allocation = chooseAddress(set, request, this.#files.lastReserved(index), taken);
          const { address } = allocation.address;
          if (!this.#files.reserve(address, attachment)) {
            throw new ConfigError(`the address ${address} is in use; ask for another`);
          }
          given.push(allocation);
          this.#files.setLastReserved(index, address);
        }
        return given;
      } catch (error) {
        for (const { address } of given) this.#files.release(address.address);
        this.#files.discardUnfinished();
        throw error;
      }
    });
  }

  async requireRoom(request: AddressRequest): Promise<void> {
    const taken = await this.#ifUsed(() => this.#taken());
    const last = (index: number) => (taken === null ? null : this.#files.lastReserved(index));
    for (const [index, set] of request.rangeSets.entries()) {
      chooseAddress(set, { ...request, requested: [] }, last(index), taken ?? new Set());
    }
  }

  async release(held: readonly Reservation[], whenEmpty?: () => Promise<void>): Promise<void> {
    await this.#ifUsed(async () => {
      for (const reservation of held) {
        const { address } = reservation;
        const holder = this.#files.holderOf(address);
        if (holder !== null && isSameHolder(holder, reservation)) this.#files.release(address);
      }
      this.#files.discardUnfinished();
      if (whenEmpty !== undefined && this.#files.addresses().length === 0) await whenEmpty();
    });
  }

  #reclaim(
    reserved: readonly Reservation[],
    isAlive: (attachment: Attachment) => boolean,
  ): readonly Reservation[] {
    const bootId = this.#readBootId();
    if (this.#files.bootId() === bootId) return [];
    const gone = this.#ofEarlierBoots(reserved).filter((reservation) => !isAlive(reservation));
    for (const { address } of gone) this.#files.release(address);
    this.#files.setBootId(bootId);
    return gone;
  }

  #ofEarlierBoots(reserved: readonly Reservation[]): readonly Reservation[] {
    return reserved.filter(this.#isOfEarlierBoot(this.#files));
  }

  /** Whether what holds an address in this folder was made before this boot, as far as the folder's marker tells. */
  #isOfEarlierBoot(files: ReservationFiles): (held: { readonly address: Address }) => boolean {
    const marked = files.bootId();
    if (marked === null || marked === this.#readBootId()) return () => false;
    const startMs = this.#readBootStartMs();
    return ({ address }) => files.madeMs(address) < startMs;
  }

  #lockAll<T>(work: () => T | Promise<T>): Promise<T> {
    const shared = join(this.#dataDir, SHARED);
    makeFolder(shared, 0o755);
    return this.#lock(shared, () => this.#lock(this.#folder, work));
  }

  #taken(): ReadonlySet<string> {
    // What a folder will free as left by an earlier boot is free.
    const taken = [this.#files, ...this.#otherFolders()].flatMap((files) => {
      const isStale = this.#isOfEarlierBoot(files);
      return files.addresses().filter((address) => !isStale({ address }));
    });
    return new Set(taken.map(String));
  }

  /** What host-local left in the folder of a network that is used no more is free after the next boot. */
  #markOthers(): void {
    for (const files of this.#otherFolders())
      if (files.bootId() === null && files.addresses().length > 0) files.setBootId(this.#readBootId());
  }

  #otherFolders(): readonly ReservationFiles[] {
    return readdirSync(this.#dataDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== this.#network && entry.name !== SHARED)
      .map(({ name }) => new ReservationFiles(join(this.#dataDir, name)));
  }

  /** A network without a folder, or with an empty one, has none: null, without a lock, which a full disk would refuse. */
  async #ifUsed<T>(work: () => T | Promise<T>): Promise<T | null> {
    if (!existsSync(this.#folder) || readdirSync(this.#folder).length === 0) return null;
    return this.#lock(this.#folder, work);
  }
}

function isSameHolder(left: Attachment, right: Attachment): boolean {
  return left.containerId === right.containerId && left.interfaceName === right.interfaceName;
}
