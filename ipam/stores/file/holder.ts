/**
 * One state in a directory that several processes of a machine share. No server, no lock.
 *
 * The whole state is one file, `state.<version>`. A writer writes version n + 1 into a temporary file,
 * syncs it, and names it with link(2), which fails when another writer was first: a lock-free compare-and-swap that a
 * process killed at any point leaves either done or not done. A reader takes the highest version. The meaning of the
 * state is not used here.
 */

import { randomUUID } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { link, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../clock.ts";
import { makeFolder } from "../../files/folder.ts";
import { readOwnFile } from "../../files/read.ts";
import { syncFolder } from "../../files/sync.ts";
import { writeNewFile } from "../../files/write.ts";
import { partOf } from "../../part-signal.ts";
import { Turns } from "../../turns.ts";
import { decodeStateFile, encodeStateFile, type StateFile } from "./codec.ts";
import { errnoOf, fileStoreError } from "./errors.ts";
import type { KvHolder } from "./key-value.ts";
import { emptyState, type KvState, restartLeases } from "./kv-state.ts";

const VERSION_NAME = /^state\.(\d{16})$/;
const TEMPORARY_NAME = /^new\./;

/** Changes that inotify does not report, such as a directory created again, are detected this late. */
const POLL_MS = 1_000;

/** While the directory does not exist, or inotify is exhausted. */
const BLIND_POLL_MS = 200;

/** The writer of a temporary file this much older than the newest version has died. */
const ABANDONED_MS = 60_000;

/** A state of 100,000 leases has a tenth of this size. */
const LARGEST_STATE_BYTES = 512 << 20;

/** Old versions that are kept, for readers that are about to open one. */
const KEPT_VERSIONS = 8;

/** Writers remembered in a state: tells a writer that was overtaken whether its version counted. */
const LINEAGE_LENGTH = 64;

interface LoadedState extends StateFile {
  /** 0 before the first write. */
  readonly version: number;
}

export class FileHolder implements KvHolder {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #readBootId: () => Promise<string>;
  #loaded: LoadedState | null = null;
  readonly #updates = new Turns();

  constructor(options: {
    readonly directory: string;
    readonly clock: Clock;
    readonly readBootId: () => Promise<string>;
  }) {
    this.#directory = options.directory;
    this.#clock = options.clock;
    this.#readBootId = options.readBootId;
  }

  async read(signal: AbortSignal): Promise<KvState> {
    signal.throwIfAborted();
    return (await this.#load()).state;
  }

  /** Serializes the writers of this process; link(2) decides among processes. */
  async update(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState> {
    return await this.#updates.run(() => this.#swap(change, signal));
  }

  async waitForChange(seen: KvState, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const changed = partOf(signal);
    const watcher = this.#watchDirectory(changed.end);
    const pollMs = watcher ? POLL_MS : BLIND_POLL_MS;
    const endMs = this.#clock.monotonicMs() + timeoutMs;
    try {
      while (!changed.signal.aborted && (await this.read(signal)) === seen) {
        const leftMs = endMs - this.#clock.monotonicMs();
        if (leftMs <= 0) return;
        await this.#clock
          .sleep(Math.min(pollMs, leftMs), changed.signal)
          .catch(() => signal.throwIfAborted());
      }
    } finally {
      watcher?.close();
      changed.end();
    }
  }

  async #swap(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState> {
    const bootId = await this.#readBootId();
    while (true) {
      signal.throwIfAborted();
      const before = await this.#load();
      const state = change(before.state);
      if (state === before.state && before.bootId === bootId) return state;
      const writer = randomUUID();
      const lineage = [...before.lineage, writer].slice(-LINEAGE_LENGTH);
      const after = { version: before.version + 1, bootId, lineage, state };
      if (await this.#publish(after, writer)) {
        this.#loaded = after;
        return state;
      }
    }
  }

  /** Makes `next` the newest version; false when another writer was faster. */
  async #publish(next: LoadedState, writer: string): Promise<boolean> {
    const temporary = join(this.#directory, `new.${writer}`);
    let isLinked = false;
    await this.#makeDirectory();
    try {
      await writeNewFile(temporary, encodeStateFile(next), { mode: 0o600 });
      await link(temporary, this.#pathOf(next.version));
      isLinked = true;
      await syncFolder(this.#directory);
      if (!(await this.#counts(next.version, writer))) return false;
      await this.#removeOld(next.version);
      return true;
    } catch (error) {
      // EEXIST: the version exists. ENOENT: another process removed our temporary file as abandoned.
      if (!isLinked && (errnoOf(error) === "EEXIST" || errnoOf(error) === "ENOENT")) return false;
      throw fileStoreError("write", this.#directory, error, isLinked);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  async #makeDirectory(): Promise<void> {
    try {
      makeFolder(this.#directory, 0o700);
    } catch (error) {
      throw fileStoreError("write", this.#directory, error);
    }
  }

  /**
   * True when the version just linked is part of the history. A writer that was paused between reading and linking may
   * have reused the name of a version that was current, replaced and removed meanwhile.
   */
  async #counts(version: number, writer: string): Promise<boolean> {
    const newest = await this.#newestVersion();
    if (newest <= version) return true;
    if ((await this.#load()).lineage.includes(writer)) return true;
    await rm(this.#pathOf(version), { force: true });
    return false;
  }

  async #load(): Promise<LoadedState> {
    while (true) {
      const version = await this.#newestVersion();
      if (this.#loaded?.version === version) return this.#loaded;
      const loaded = await this.#readVersion(version);
      if (loaded) {
        this.#loaded = loaded;
        return loaded;
      }
    }
  }

  /** Null when the version was removed meanwhile because a newer one exists. */
  async #readVersion(version: number): Promise<LoadedState | null> {
    const bootId = await this.#readBootId();
    if (version === 0) return { version, bootId, lineage: [], state: emptyState };
    try {
      const text = readOwnFile(this.#pathOf(version), LARGEST_STATE_BYTES);
      if (text === null) return null;
      const file = decodeStateFile(text);
      if (file.bootId === bootId) return { version, ...file };
      // The machine was booted: its clock restarted, so each lease gets its whole time again.
      return { version, ...file, state: restartLeases(file.state, this.#clock.monotonicMs()) };
    } catch (error) {
      throw fileStoreError("read", this.#pathOf(version), error);
    }
  }

  async #newestVersion(): Promise<number> {
    return (await this.#names()).map(versionOf).reduce((a, b) => Math.max(a, b), 0);
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw fileStoreError("read", this.#directory, error);
    }
  }

  /** Removes versions that no reader can need, and temporary files whose writer died. */
  async #removeOld(newest: number): Promise<void> {
    const names = await this.#names();
    const old = names.filter((name) => VERSION_NAME.test(name) && versionOf(name) <= newest - KEPT_VERSIONS);
    const abandoned = await this.#abandoned(
      names.filter((name) => TEMPORARY_NAME.test(name)),
      newest,
    );
    for (const name of [...old, ...abandoned]) await rm(join(this.#directory, name), { force: true });
  }

  async #abandoned(temporaries: readonly string[], newest: number): Promise<readonly string[]> {
    if (temporaries.length === 0) return [];
    const newestMs = await modifiedMs(this.#pathOf(newest));
    const ages = await Promise.all(
      temporaries.map(async (name) => newestMs - (await modifiedMs(join(this.#directory, name)))),
    );
    return temporaries.filter((_, index) => (ages[index] ?? 0) > ABANDONED_MS);
  }

  /** Null where inotify is exhausted or the directory does not exist yet: then only polling detects changes. */
  #watchDirectory(onChange: () => void): FSWatcher | null {
    try {
      const watcher = watch(this.#directory, (_event, name) => {
        if (name !== null && VERSION_NAME.test(name)) onChange();
      });
      watcher.on("error", onChange);
      return watcher;
    } catch {
      return null;
    }
  }

  #pathOf(version: number): string {
    return join(this.#directory, `state.${String(version).padStart(16, "0")}`);
  }
}

function versionOf(name: string): number {
  return Number(VERSION_NAME.exec(name)?.[1] ?? 0);
}

/** Modification time; Infinity for a file that is gone. */
async function modifiedMs(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return Number.POSITIVE_INFINITY;
    throw error;
  }
}
