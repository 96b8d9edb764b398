/**
 * The network configurations that this host had, as far as their backends differ: the one in force, and those before it
 * by which hosts that have not followed may still send.
 *
 * Kept in <state-dir>/backend.json, for other networks than the first in backend-<name>.json, readable by root only: a
 * configuration may hold a key.
 */

import { join } from "node:path";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { fits } from "../../ipam/leases/candidates.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { judgeConfig } from "./config-change.ts";
import { type NetworkSettings, ownedName } from "./network-settings.ts";
import { optionsOf } from "./network-support.ts";

/** Changes that may be under way at once; the oldest is given up. */
const MOST_FORMERS = 2;

export class ConfigHistory {
  readonly #path: string;
  readonly #logger: Logger;
  /** What the file holds, the newest first; null before it was read. */
  #known: readonly NetworkConfig[] | null = null;

  constructor({ stateDir, name }: Pick<NetworkSettings, "stateDir" | "name">, logger: Logger) {
    this.#path = join(stateDir, `${ownedName("backend", name)}.json`);
    this.#logger = logger;
  }

  /**
   * Records the configuration in force. Returns those with other backends that were in force before and are not given up
   * yet, the last one first. Never rejects: without the record this host only lacks its former backends.
   */
  async enter(config: NetworkConfig): Promise<readonly NetworkConfig[]> {
    this.#known ??= this.#read();
    const formers: NetworkConfig[] = [];
    for (const former of this.#known) {
      if (!isSamePlan(former, config)) continue;
      if ([config, ...formers].every((other) => !isSameBackend(former, other))) formers.push(former);
    }
    const kept = formers.slice(0, MOST_FORMERS);
    await this.#write([config, ...kept]);
    return kept;
  }

  /**
   * The configuration that was in force before `next`, where only families make the difference and the lease fits it: this
   * host can stay with it. Null for none.
   */
  beforeFamiliesOf(next: NetworkConfig, lease: Pick<Lease, "subnets"> | null): NetworkConfig | null {
    this.#known ??= this.#read();
    const [former] = this.#known;
    if (former === undefined || lease === null || !fits(lease.subnets, former.families)) return null;
    try {
      const attachment = { networkConfig: former, options: optionsOf(former) };
      return judgeConfig({ attachment, own: lease.subnets, next, invalid: null }).isRejoin ? former : null;
    } catch {
      return null; // of another version: nothing can be prepared from it
    }
  }

  /** The former backends are needed no more. Never rejects. */
  async forgetFormers(config: NetworkConfig): Promise<void> {
    await this.#write([config]);
  }

  /** The newest first; empty when nothing can be read. */
  #read(): readonly NetworkConfig[] {
    try {
      const text = readOwnFile(this.#path);
      if (text === null) return [];
      const value: unknown = JSON.parse(text);
      if (!isJsonObject(value) || !Array.isArray(value.configs))
        throw new Error("it holds no list of configs");
      return value.configs.map((config) => parseNetworkConfig(String(config)));
    } catch (error) {
      this.#logger.warn("record of the network's backends is ignored", {
        path: this.#path,
        error: errorMessage(error),
      });
      return [];
    }
  }

  async #write(configs: readonly NetworkConfig[]): Promise<void> {
    this.#known = configs;
    const text = `${JSON.stringify({ configs: configs.map((config) => config.text) }, null, 2)}\n`;
    try {
      if (readOwnFile(this.#path) !== text) await replaceFile(this.#path, text, { mode: 0o600 });
    } catch (error) {
      this.#logger.warn("the network's backend cannot be recorded", {
        path: this.#path,
        error: errorMessage(error),
      });
    }
  }
}

/** Whether hosts with either configuration have subnets of the same ranges. */
function isSamePlan(one: NetworkConfig, other: NetworkConfig): boolean {
  const ranges = ({ families }: NetworkConfig): string =>
    entriesOf(families)
      .map(([, { network }]) => network)
      .join();
  return ranges(one) === ranges(other);
}

/** Whether a running host could go from one to the other under traffic: then there is nothing to change over. */
function isSameBackend(one: NetworkConfig, other: NetworkConfig): boolean {
  if (one.backend.type !== other.backend.type) return false;
  try {
    return optionsOf(one).unsafeDifferences(optionsOf(other)).length === 0;
  } catch {
    return true; // options of another version: nothing can be prepared from them
  }
}
