/** Brings files and the names of folders to the disk. */

import { closeSync, constants, fsync, fsyncSync, openSync } from "node:fs";

const { O_DIRECTORY, O_RDONLY } = constants;

/** fsync(2) on a worker thread. */
export function synced(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fsync(fd, (error) => (error === null ? resolve() : reject(error))));
}

/** Waits until the folder's names are on the disk: fsync(2) of a file does not do that. */
export async function syncFolder(folder: string): Promise<void> {
  const fd = openFolder(folder);
  try {
    await synced(fd);
  } finally {
    closeSync(fd);
  }
}

/** The same for an open descriptor while the caller waits; it is closed in any case. */
export function syncAndClose(fd: number): void {
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Opens a folder for fsync(2). */
export function openFolder(folder: string): number {
  return openSync(folder, O_RDONLY | O_DIRECTORY);
}

/** Brings files to the disk beside the caller's other work. */
export class BackgroundSync {
  readonly #running: Promise<void>[] = [];

  /** Takes the descriptor over. */
  add(fd: number): void {
    const running = synced(fd).finally(() => closeSync(fd));
    // `finished` tells of a failure.
    running.catch(() => undefined);
    this.#running.push(running);
  }

  /** Resolves when all files that were added are on the disk. Rejects with what the file system throws. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }
}
