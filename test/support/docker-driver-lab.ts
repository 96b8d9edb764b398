/** Hosts with a driver each and a fake engine each, on one store in memory. */

import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { ContainerLinks } from "../../agent/docker-driver/context.ts";
import { DockerDriver } from "../../agent/docker-driver/docker-driver.ts";
import type { EndpointRecord } from "../../agent/docker-driver/records.ts";
import { Metrics } from "../../agent/report/metrics.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { ConflictError, StoreError } from "../../ipam/errors.ts";
import { Faults } from "../../ipam/faults.ts";
import type { Logger } from "../../ipam/log.ts";
import { StoreCatalogue } from "../../ipam/named-networks/catalogue.ts";
import type { AddressBook } from "../../ipam/named-networks/contracts.ts";
import { StoreFeed } from "../../ipam/named-networks/feed.ts";
import type {
  HostId,
  HostRecord,
  Member,
  NamedNetwork,
  NetworkId,
} from "../../ipam/named-networks/named-network.ts";
import { recordRestoration } from "../../ipam/named-networks/restorations.ts";
import type { Records } from "../../ipam/stores/contracts.ts";
import { FakeEngine } from "./fake-engine.ts";
import { MemoryHolder, openMemoryStore } from "./stores/memory-store.ts";
import { testEnvironment } from "./stores/store-factory.ts";

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly fields: unknown;
}

/** Gives the lowest free address of a network, over all hosts of the lab. */
class SharedAddresses {
  readonly holders = new Map<string, string>();
  /** How long an address takes, as on a slow disk. */
  delayMs = 0;

  bookOf(host: string): AddressBook {
    return {
      take: async (network, family, wanted) => {
        await new Promise((resolve) => setTimeout(resolve, this.delayMs));
        return this.#take(host, network, family, wanted);
      },
      release: (network, address) => {
        const key = `${network}/${address}`;
        if (this.holders.get(key) === host) this.holders.delete(key);
      },
      given: (network) => this.givenTo(host, network),
      endpointOf: () => null,
      prepare: () => undefined,
      forget: async () => undefined,
    };
  }

  givenTo(host: string, network: NetworkId): readonly Address[] {
    return [...this.holders].flatMap(([key, holder]) => {
      const [id, text = ""] = key.split("/");
      return holder === host && id === network ? [Address.parse(text)] : [];
    });
  }

  #take(host: string, network: NamedNetwork, family: Family, wanted: Address | null): Address {
    const pool = network.pools[family];
    if (pool === undefined) throw new Error("no such family");
    for (let offset = 1n; offset < pool.allocation.size; offset += 1n) {
      const address = wanted ?? pool.allocation.base.plus(offset);
      const key = `${network.id}/${address}`;
      const isFree = !this.holders.has(key) && !address.equals(pool.gateway);
      if (isFree) {
        this.holders.set(key, host);
        return address;
      }
      if (wanted !== null) throw new ConflictError(`${wanted} is held by ${this.holders.get(key)}`);
    }
    throw new ConflictError("no address is left");
  }
}

/** Interface pairs as names. */
export class FakeLinks implements ContainerLinks {
  readonly present = new Map<string, string>();
  /** How long a pair takes, as on a busy host. */
  delayMs = 0;

  async prepare(): Promise<void> {}

  async add(_network: NamedNetwork, { endpoint }: EndpointRecord): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    const name = `tl${endpoint.slice(0, 10)}`;
    this.present.set(endpoint, name);
    return name;
  }

  async remove({ endpoint }: EndpointRecord): Promise<void> {
    this.present.delete(endpoint);
  }
}

export class DriverHost {
  readonly name: string;
  readonly folder: string;
  readonly engine: FakeEngine;
  readonly pluginSocket: string;
  readonly apiSocket: string;
  readonly links = new FakeLinks();
  readonly log: LogLine[] = [];
  readonly #lab: DriverLab;
  readonly #id: HostId;
  #driver: DockerDriver | null = null;
  #feed: StoreFeed | null = null;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(lab: DriverLab, name: string, folder: string) {
    this.name = name;
    this.folder = folder;
    this.#lab = lab;
    this.#id = randomBytes(16).toString("hex") as HostId;
    mkdirSync(folder, { recursive: true });
    this.pluginSocket = join(folder, "tulle.sock");
    this.apiSocket = join(folder, "docker.sock");
    this.engine = new FakeEngine(this.apiSocket, this.pluginSocket);
  }

  get driver(): DockerDriver {
    if (this.#driver === null) throw new Error("the driver does not run");
    return this.#driver;
  }

  get feed(): StoreFeed {
    if (this.#feed === null) throw new Error("the driver does not run");
    return this.#feed;
  }

  /** Addresses that this host gave in a network. */
  given(network: NetworkId): readonly Address[] {
    return this.#lab.addresses.givenTo(this.#id, network);
  }

  async startDriver(): Promise<void> {
    const logger = this.#logger();
    const record: HostRecord = {
      host: this.#id,
      name: this.name,
      publicAddresses: { 4: Address.parse(`192.168.50.${10 + this.#lab.hosts.length}`) },
      localPrefixes: [this.#lab.lan],
      version: "test",
    };
    const { records } = this.#lab.connection.network("/test");
    const clock = systemClock;
    const common = { records, clock, random: Math.random, logger, dateMs: Date.now, randomBytes };
    const followed = this.#lab.disturbing(records);
    const feed = new StoreFeed({ ...common, records: followed, host: record, stateDir: this.folder });
    const catalogue = new StoreCatalogue({
      ...common,
      reserved: async () => [{ prefix: Prefix.parse("10.2.0.0/16"), title: "the overlay" }],
      foreignVnis: () => new Map(),
    });
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    setMaxListeners(0, signal);
    this.#feed = feed;
    const guardedCatalogue = this.#lab.cutting(catalogue);
    const driver = await DockerDriver.open({
      ...{ pluginSocket: this.pluginSocket, engineSocket: this.apiSocket, stateDir: this.folder },
      ...{ host: this.#id, feed, catalogue: guardedCatalogue, book: this.#lab.addresses.bookOf(this.#id) },
      recordRestoration: (network, usedBy, signal) =>
        recordRestoration(
          records,
          { network, host: this.#id, hostName: this.name, usedBy, atSeconds: Math.floor(Date.now() / 1000) },
          signal,
        ),
      ...{ links: this.links, localPrefixes: () => [this.#lab.lan], clock, random: Math.random },
      ...{ dateMs: Date.now, logger, faults: new Faults(logger), metrics: new Metrics() },
    });
    this.#driver = driver;
    this.#running = Promise.all([feed.run(signal), driver.run(signal)]);
  }

  async stopDriver(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#driver = null;
  }

  /** Networks of this driver that the engine has, by name. */
  networkNames(): readonly string[] {
    return [...this.engine.networks.values()].map(({ name }) => name).sort();
  }

  #logger(): Logger {
    const at =
      (level: keyof Logger) =>
      (message: string, fields: unknown = {}): void =>
        void this.log.push({ level, message, fields });
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }
}

export class DriverLab {
  readonly lan = Prefix.parse("192.168.50.0/24");
  readonly hosts: DriverHost[] = [];
  readonly addresses = new SharedAddresses();
  readonly connection = openMemoryStore(new MemoryHolder(systemClock), testEnvironment);
  readonly #folder = mkdtempSync(join(tmpdir(), "tulle-driver-"));
  /** While true, every call of a catalogue fails as with an unreachable store. */
  isStoreCut = false;
  /** How long a catalogue keeps its answers to itself, as on a slow network. */
  catalogueDelayMs = 0;
  /** How much later than the store's answers its watches tell. */
  watchDelayMs = 0;
  /** While true, hosts cannot write what they tell of themselves. */
  areHostsMute = false;

  async addHost(): Promise<DriverHost> {
    const name = `host${this.hosts.length + 1}`;
    const host = new DriverHost(this, name, join(this.#folder, name));
    this.hosts.push(host);
    await host.engine.start();
    await host.startDriver();
    return host;
  }

  cutting(catalogue: StoreCatalogue): StoreCatalogue {
    return new Proxy(catalogue, {
      get: (target, property) => {
        const value = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]) => {
          if (this.isStoreCut) throw new StoreError("no endpoint answers", { retryable: true });
          const answer = await value.apply(target, args);
          await new Promise((resolve) => setTimeout(resolve, this.catalogueDelayMs));
          return answer;
        };
      },
    });
  }

  disturbing(records: Records): Records {
    const pause = () => new Promise((resolve) => setTimeout(resolve, this.watchDelayMs));
    return new Proxy(records, {
      get: (target, property) => {
        const value = Reflect.get(target, property);
        if (this.areHostsMute && (property === "write" || property === "remove"))
          return () => Promise.reject(new StoreError("no endpoint answers", { retryable: true }));
        if (property !== "watch") return typeof value === "function" ? value.bind(target) : value;
        return async function* (...args: Parameters<Records["watch"]>) {
          for await (const message of target.watch(...args)) {
            await pause();
            yield message;
          }
        };
      },
    });
  }

  async dispose(): Promise<void> {
    for (const host of this.hosts) {
      await host.stopDriver().catch(() => undefined);
      await host.engine.kill();
    }
    await this.connection.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Waits until `read` returns something true. */
export async function eventually<T>(read: () => T | Promise<T>, ms = 5_000): Promise<NonNullable<T>> {
  const endMs = performance.now() + ms;
  for (;;) {
    let reason: unknown = "false";
    try {
      const value = await read();
      if (value) return value as NonNullable<T>;
    } catch (error) {
      reason = error;
    }
    if (performance.now() > endMs) throw new Error(`not within ${ms} ms: ${reason} in ${read}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Two hosts, made before each test and disposed of after it. */
export interface DriverPair {
  readonly lab: DriverLab;
  readonly one: DriverHost;
  readonly two: DriverHost;
}

/** How `docker network create` asks for addresses of the driver. */
export const OURS = { ipamDriver: "tulle" };

export function useDriverPair(): DriverPair {
  let pair: DriverPair | null = null;
  const current = (): DriverPair => {
    if (pair === null) throw new Error("the hosts are there inside a test only");
    return pair;
  };
  beforeEach(async () => {
    const lab = new DriverLab();
    pair = { lab, one: await lab.addHost(), two: await lab.addHost() };
  });
  afterEach(() => current().lab.dispose());
  return {
    get lab() {
      return current().lab;
    },
    get one() {
      return current().one;
    },
    get two() {
      return current().two;
    },
  };
}

/** Resolves with the engine's network of this name. */
export function appears(host: DriverHost, name: string) {
  return eventually(() => [...host.engine.networks.values()].find((network) => network.name === name));
}

export function disappears(host: DriverHost, name: string) {
  return eventually(() => ![...host.engine.networks.values()].some((network) => network.name === name));
}

/** Resolves with the store's network of this name, as the host sees it. */
export function published(host: DriverHost, name: string): Promise<NamedNetwork> {
  return eventually(() => [...host.feed.view.networks.values()].find((network) => network.name === name));
}

/** The members of a network, as the host sees them. */
export function membersOf(host: DriverHost, name: string): readonly Member[] {
  const network = [...host.feed.view.networks.values()].find((each) => each.name === name);
  const hosts = network === undefined ? undefined : host.feed.view.members.get(network.id);
  return [...(hosts?.values() ?? [])].flatMap(({ members }) => members);
}
