/**
 * The driver's memory: what dockerd has asked for and does not ask for again when one of the two starts. In memory for
 * the answers, in its file before an answer is given.
 *
 * Two files in the state directory. A damaged one is set aside: networks are then found again by the engine's and the
 * store's lists, endpoints by the engine's containers (container-keeper.ts).
 */

import { rename } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile, replaceFileSync } from "../../ipam/files/write.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { Logger } from "../../ipam/log.ts";
import type { NetworkId } from "./network-id.ts";
import {
  type DockerNetwork,
  decodeEndpoints,
  decodeRecords,
  type EndpointRecord,
  encodeEndpoints,
  encodeRecords,
  type PoolRecord,
} from "./records.ts";

const NETWORKS_FILE = "docker-networks.json";
const ENDPOINTS_FILE = "docker-endpoints.json";
const MAX_BYTES = 32 << 20;

export class DriverState {
  readonly pools = new Map<string, PoolRecord>();
  readonly networks = new Map<string, DockerNetwork>();
  readonly endpoints = new Map<string, EndpointRecord>();
  readonly removals = new Set<NetworkId>();
  /** By the engine's id: networks that tulled is removing. What the engine tells of their removal does not come from a user. */
  readonly ownRemovals = new Set<string>();
  /** Containers may run whose endpoints are not here: their file was not there, or was damaged. */
  areEndpointsLost = false;
  readonly #folder: string;
  readonly #networksSaver: Saver;
  readonly #endpointsSaver: Saver;

  private constructor(folder: string) {
    this.#folder = folder;
    const { pools, networks, endpoints, removals, ownRemovals } = this;
    this.#networksSaver = new Saver(async () => {
      const json = encodeRecords({
        pools: [...pools.values()],
        networks: [...networks.values()],
        removals: [...removals],
        ownRemovals: [...ownRemovals],
      });
      await replaceFile(this.#path(NETWORKS_FILE), textOf(json), { mode: 0o600 });
    });
    // A container ends with the power, so that its endpoint need not outlive that.
    this.#endpointsSaver = new Saver(async () => {
      const path = this.#path(ENDPOINTS_FILE);
      const text = textOf(encodeEndpoints([...endpoints.values()]));
      replaceFileSync(path, text, { mode: 0o600 }, { isDurable: false });
    });
  }

  /** Reads the files of `folder`. Throws ConflictError and what the file system throws. */
  static async load(folder: string, logger: Logger): Promise<DriverState> {
    makeFolder(folder, 0o700);
    const state = new DriverState(folder);
    await state.#read(NETWORKS_FILE, logger, (text) => {
      const { pools, networks, removals, ownRemovals } = decodeRecords(text);
      for (const pool of pools) state.pools.set(pool.poolId, pool);
      for (const network of networks) state.networks.set(network.dockerId, network);
      for (const id of removals) state.removals.add(id);
      for (const dockerId of ownRemovals) state.ownRemovals.add(dockerId);
    });
    const isRead = await state.#read(ENDPOINTS_FILE, logger, (text) => {
      for (const endpoint of decodeEndpoints(text)) state.endpoints.set(endpoint.endpoint, endpoint);
    });
    state.areEndpointsLost = !isRead;
    return state;
  }

  /** Resolves once pools, networks and removals are on disk as they are now. Rejects when they cannot be written. */
  saveNetworks(): Promise<void> {
    return this.#networksSaver.save();
  }

  /** The same for endpoints. */
  saveEndpoints(): Promise<void> {
    return this.#endpointsSaver.save();
  }

  /** Endpoints of a network of the engine. */
  endpointsOf(dockerId: string): readonly EndpointRecord[] {
    return [...this.endpoints.values()].filter((endpoint) => endpoint.dockerId === dockerId);
  }

  /** False without a readable file. */
  async #read(name: string, logger: Logger, take: (text: string) => void): Promise<boolean> {
    const path = this.#path(name);
    const text = readOwnFile(path, MAX_BYTES);
    if (text === null) return false;
    try {
      take(text);
      return true;
    } catch (error) {
      const aside = `${path}.broken`;
      await rename(path, aside);
      logger.warn("file of the Docker driver is damaged; set aside", {
        path,
        aside,
        error: errorMessage(error),
      });
      return false;
    }
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

function textOf(json: JsonObject): string {
  return `${JSON.stringify(json)}\n`;
}

/** Of the time that a write took, before the next: a thousand callers share few writes, a single one does not wait. */
const PAUSE_SHARE = 4;
const LONGEST_PAUSE_MS = 50;

/** Writes for many callers at once: those that ask before a write begins share it. */
class Saver {
  readonly #write: () => Promise<void>;
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | null = null;
  #restedMs = 0;

  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  save(): Promise<void> {
    this.#next ??= this.#running.then(() => this.#rest()).then(() => this.#begin());
    return this.#next;
  }

  #begin(): Promise<void> {
    this.#next = null;
    const startMs = performance.now();
    const written = this.#write();
    this.#running = written
      .catch(() => undefined)
      .then(() => {
        const endMs = performance.now();
        this.#restedMs = endMs + Math.min(LONGEST_PAUSE_MS, (endMs - startMs) * PAUSE_SHARE);
      });
    return written;
  }

  async #rest(): Promise<void> {
    const waitMs = this.#restedMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}
