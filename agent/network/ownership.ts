/**
 * The record of what a network of this host has where others have things too: names of its devices, and interfaces of
 * the host on which it creates routes.
 *
 * Written before anything is created, so that what a crash or a change of the configuration leaves behind is found
 * again. Names leave the record in a later run, once the host has nothing of ours under them. A route counts as ours only with our protocol number, on a recorded interface and inside a range of the
 * network. Kept in <state-dir>/owned.json, for other networks than the first in owned-<name>.json.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errorMessage } from "../../ipam/errors.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { Logger } from "../../ipam/log.ts";
import { type NetworkSettings, ownedName } from "./network-settings.ts";

export interface Owned {
  /** Devices that the network alone has, or had. */
  readonly devices: ReadonlySet<string>;
  /** Interfaces of the host on which it creates routes, or did. */
  readonly interfaces: ReadonlySet<string>;
}

/** What is certain to be gone from the host, with all that was on it. */
export interface Gone {
  device(name: string): boolean;
  interface(name: string): boolean;
}

const NOTHING: Owned = { devices: new Set(), interfaces: new Set() };

export class Ownership {
  readonly #path: string;
  readonly #logger: Logger;
  #owned: Owned;
  /** What a former run recorded and this one has not used. */
  #inherited: Owned;
  #written: Promise<void> = Promise.resolve();

  /** Reads the record. A damaged one is logged and starts empty. */
  constructor({ stateDir, name }: Pick<NetworkSettings, "stateDir" | "name">, logger: Logger) {
    this.#path = join(stateDir, `${ownedName("owned", name)}.json`);
    this.#logger = logger;
    this.#owned = readOwned(this.#path, (error) =>
      logger.warn("record of owned devices is ignored", { path: this.#path, error }),
    );
    this.#inherited = this.#owned;
  }

  get owned(): Owned {
    return this.#owned;
  }

  /** Records devices and interfaces before they are used. Never rejects: without the record the host still works. */
  async add(devices: readonly string[], interfaces: readonly string[]): Promise<void> {
    const before = this.#owned;
    const after = {
      devices: union(before.devices, devices),
      interfaces: union(before.interfaces, interfaces),
    };
    const used = { devices: new Set(devices), interfaces: new Set(interfaces) };
    this.#inherited = without(this.#inherited, used);
    if (sizeOf(after) > sizeOf(before)) await this.#replace(after);
  }

  /** True when the record has names that only a former run used. */
  get hasInherited(): boolean {
    return sizeOf(this.#inherited) > 0;
  }

  /** Forgets names that only a former run used and of which nothing is left. Never rejects. */
  async forget(gone: Gone): Promise<void> {
    const { devices, interfaces } = this.#inherited;
    const stale = {
      devices: new Set([...devices].filter((name) => gone.device(name))),
      interfaces: new Set([...interfaces].filter((name) => gone.interface(name))),
    };
    this.#inherited = without(this.#inherited, stale);
    if (sizeOf(stale) > 0) await this.#replace(without(this.#owned, stale));
  }

  /** The file gets the newest record, also when a write was under way. */
  #replace(owned: Owned): Promise<void> {
    this.#owned = owned;
    this.#written = this.#written.then(() => this.#write());
    return this.#written;
  }

  async #write(): Promise<void> {
    const { devices, interfaces } = this.#owned;
    const text = JSON.stringify({ devices: [...devices], interfaces: [...interfaces] }, null, 2);
    try {
      await replaceFile(this.#path, `${text}\n`, { mode: 0o600 });
    } catch (error) {
      const fields = { path: this.#path, error: errorMessage(error) };
      this.#logger.warn("owned devices cannot be recorded", fields);
    }
  }
}

/** The interfaces of the host that all networks of this state directory recorded. A damaged record names none. */
export function readRecordedInterfaces(stateDir: string): ReadonlySet<string> {
  const files = readFolder(stateDir).filter((name) => /^owned(-.+)?\.json$/.test(name));
  return union(...files.map((name) => readOwned(join(stateDir, name), () => undefined).interfaces));
}

/** The names of all files in the folder; empty where it cannot be read. */
export function readFolder(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // tulled never ran here with this directory
  }
}

function readOwned(path: string, onDamage: (error: string) => void): Owned {
  try {
    const text = readOwnFile(path);
    if (text === null) return NOTHING;
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) throw new Error("it holds no JSON object");
    return { devices: names(value, "devices"), interfaces: names(value, "interfaces") };
  } catch (error) {
    onDamage(errorMessage(error));
    return NOTHING;
  }
}

function names(value: JsonObject, key: string): ReadonlySet<string> {
  const list = value[key] ?? [];
  if (!Array.isArray(list)) throw new Error(`${key} is not a list of names`);
  return new Set(list.map(String));
}

function union(...lists: readonly Iterable<string>[]): ReadonlySet<string> {
  return new Set(lists.flatMap((list) => [...list]));
}

function without(owned: Owned, names: Owned): Owned {
  return {
    devices: new Set([...owned.devices].filter((name) => !names.devices.has(name))),
    interfaces: new Set([...owned.interfaces].filter((name) => !names.interfaces.has(name))),
  };
}

function sizeOf({ devices, interfaces }: Owned): number {
  return devices.size + interfaces.size;
}
