/** Hosts that share named networks in one store, for tests. */

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Address, type Family, type PerFamily, Prefix } from "../../../ipam/addresses/ip.ts";
import { localMacFromSeed } from "../../../ipam/addresses/mac.ts";
import { type Clock, systemClock } from "../../../ipam/clock.ts";
import { type Logger, silentLogger } from "../../../ipam/log.ts";
import { StoreAddressBook } from "../../../ipam/named-networks/address-book.ts";
import { type CatalogueOptions, StoreCatalogue } from "../../../ipam/named-networks/catalogue.ts";
import type { NetworkRequest, PoolRequest } from "../../../ipam/named-networks/contracts.ts";
import { StoreFeed } from "../../../ipam/named-networks/feed.ts";
import type { HostId, HostRecord, Member, NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import type { Records } from "../../../ipam/stores/contracts.ts";

export function hostId(number: number): HostId {
  return number.toString(16).padStart(32, "0") as HostId;
}

export function poolRequest(
  subnet: string | null = null,
  rest: { readonly range?: string; readonly gateway?: string; readonly excluded?: readonly string[] } = {},
): PoolRequest {
  return {
    subnet: subnet === null ? null : Prefix.parse(subnet),
    allocation: rest.range === undefined ? null : Prefix.parse(rest.range),
    gateway: rest.gateway === undefined ? null : Address.parse(rest.gateway),
    excluded: (rest.excluded ?? []).map(Address.parse),
  };
}

export function networkRequest(name: string, changes: Partial<NetworkRequest> = {}): NetworkRequest {
  return {
    name,
    vni: null,
    pools: { 4: poolRequest() },
    isInternal: false,
    hasBroadcast: false,
    mtuBytes: null,
    labels: {},
    options: {},
    ...changes,
  };
}

export function catalogueOver(records: Records, changes: Partial<CatalogueOptions> = {}): StoreCatalogue {
  return new StoreCatalogue({
    records,
    clock: systemClock,
    random: Math.random,
    randomBytes,
    dateMs: Date.now,
    reserved: async () => [],
    foreignVnis: () => new Map(),
    ...changes,
  });
}

export function hostRecordOf(number: number, changes: Partial<HostRecord> = {}): HostRecord {
  return {
    host: hostId(number),
    name: `host${number}`,
    publicAddresses: { 4: Address.of(4, 0xc0000200n + BigInt(number)) },
    localPrefixes: [],
    version: "0.1.0",
    ...changes,
  };
}

export function memberOf(
  endpoint: string,
  addresses: PerFamily<Address>,
  changes: Partial<Member> = {},
): Member {
  return {
    endpoint,
    container: `c-${endpoint}`,
    engine: "docker",
    names: [endpoint.toLowerCase()],
    mac: localMacFromSeed(new TextEncoder().encode(endpoint.padEnd(6, "x").slice(-6))),
    addresses,
    ...changes,
  };
}

/** Folders that are removed by `dispose`. */
export class Folders {
  readonly #folders: string[] = [];

  make(): string {
    const folder = mkdtempSync(join(tmpdir(), "tulle-named-"));
    this.#folders.push(folder);
    return folder;
  }

  dispose(): void {
    for (const folder of this.#folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  }
}

/** A running part of a host: `stop` ends it and waits for its last write. */
export interface Running<T> {
  readonly part: T;
  stop(): Promise<void>;
}

function running<T extends { run(signal: AbortSignal): Promise<void> }>(part: T): Running<T> {
  const end = new AbortController();
  const done = part.run(end.signal);
  return {
    part,
    stop: async () => {
      end.abort(new Error("the test stops this host"));
      await done.catch(() => undefined);
    },
  };
}

export interface HostOptions {
  readonly records: Records;
  readonly number: number;
  readonly stateDir: string;
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly isGone?: (host: HostId) => Promise<boolean>;
  readonly isLeaseHeld?: () => boolean;
  readonly random?: () => number;
}

export function newBook(options: HostOptions): StoreAddressBook {
  const { records, number, stateDir } = options;
  return new StoreAddressBook({
    records,
    self: { host: hostId(number), name: `host${number}` },
    stateDir,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    logger: options.logger ?? silentLogger,
    isGone: options.isGone ?? (async () => false),
    isLeaseHeld: options.isLeaseHeld ?? (() => true),
  });
}

export function startBook(options: HostOptions): Running<StoreAddressBook> {
  return running(newBook(options));
}

export function startFeed(options: HostOptions, host: Partial<HostRecord> = {}): Running<StoreFeed> {
  const { records, number, stateDir } = options;
  return running(
    new StoreFeed({
      records,
      host: hostRecordOf(number, host),
      stateDir,
      clock: options.clock ?? systemClock,
      random: options.random ?? Math.random,
      logger: options.logger ?? silentLogger,
    }),
  );
}

export async function createdNetwork(
  records: Records,
  name: string,
  subnet: string | null,
  signal: AbortSignal,
  family: Family = 4,
): Promise<NamedNetwork> {
  const request = networkRequest(name, { pools: { [family]: poolRequest(subnet) } });
  return (await catalogueOver(records).create(request, signal)).network;
}
