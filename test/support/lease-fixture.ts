/** Leases, networks and stores for tests of who has which subnet. */

import { Address, entriesOf, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { AllocatingClaimer } from "../../ipam/leases/allocating-claimer.ts";
import type { Membership } from "../../ipam/leases/claimer.ts";
import type { JoinOptions } from "../../ipam/leases/join.ts";
import type { LeaseAttrs } from "../../ipam/leases/lease.ts";
import { formatLeaseValue, parseLeaseKey } from "../../ipam/leases/lease-codec.ts";
import { acquirePatiently } from "../../ipam/leases/patient-claim.ts";
import type { LogFields, Logger } from "../../ipam/log.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { NetworkStore, StoreConnection, StoreEntry } from "../../ipam/stores/contracts.ts";
import { MemoryHolder, openMemoryStore } from "./stores/memory-store.ts";

export const NETWORK = '{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}';
export const TTL_SECONDS = 60;

export function network(text: string = NETWORK): NetworkConfig {
  return parseNetworkConfig(text);
}

/** Where the leases of a network lie. */
export function networks({ families }: NetworkConfig = network()): readonly Prefix[] {
  return [...entriesOf(families)].map(([, family]) => family.network);
}

/** A node id that is told apart at a glance. */
export function nodeId(n: number): string {
  return n.toString(16).padStart(32, "0");
}

/** What host `n` publishes: 192.168.<n / 256>.<n % 256>, a tunnel MAC of its own, node id `n`. */
export function attrs(n: number, overrides: Partial<LeaseAttrs> & { readonly ip?: string } = {}): LeaseAttrs {
  const { ip = `192.168.${Math.floor(n / 256)}.${n % 256}`, ...rest } = overrides;
  const hex = n.toString(16).padStart(4, "0");
  return {
    publicAddress: { 4: Address.parse(ip) },
    backendType: "vxlan",
    backendData: { 4: { VNI: 1, VtepMAC: `02:00:00:01:${hex.slice(0, 2)}:${hex.slice(2)}` } },
    nodeId: nodeId(n),
    ...rest,
  };
}

export function value(n: number, overrides: Parameters<typeof attrs>[1] = {}): string {
  return formatLeaseValue(attrs(n, overrides));
}

/** Host `n`'s entry as a store would hold it. */
export function entry(key: string, n: number, overrides: Partial<StoreEntry> = {}): StoreEntry {
  const revision = BigInt(n);
  return { key, value: value(n), revision, createRevision: revision, storeLeaseId: "1", ...overrides };
}

export function subnets(key: string): PerFamily<Prefix> {
  return parseLeaseKey(key);
}

export function prefix(text: string): Prefix {
  return Prefix.parse(text);
}

/** An empty store in memory. */
export function memoryConnection(clock: Clock): StoreConnection {
  return openMemoryStore(new MemoryHolder(clock), {
    log: silentLogger,
    clock,
    random: () => 0.5,
    dateMs: () => 0,
  });
}

export function memoryStore(clock: Clock): NetworkStore {
  return memoryConnection(clock).network("/test/network");
}

export function joinOptions(
  store: NetworkStore,
  clock: Clock,
  n: number,
  overrides: Partial<JoinOptions> = {},
): JoinOptions {
  return {
    store,
    clock,
    config: network(),
    attrs: attrs(n),
    previous: null,
    local: [],
    ttlSeconds: TTL_SECONDS,
    logger: silentLogger,
    ...overrides,
  };
}

/** Joins as the agent does, which retries. */
export async function joinPatiently(options: JoinOptions, signal: AbortSignal): Promise<Membership> {
  const { store, clock, logger } = options;
  const patience = {
    claimer: new AllocatingClaimer(options),
    feed: store.feed,
    clock,
    logger,
    random: () => 0.5,
  };
  return await acquirePatiently(patience, options, await store.feed.list(signal), signal);
}

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that remembers. */
export function recordingLogger(): Logger & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = [];
  const record =
    (level: keyof Logger) =>
    (message: string, fields: LogFields = {}): void => {
      lines.push({ level, message, fields });
    };
  return {
    lines,
    debug: record("debug"),
    info: record("info"),
    warn: record("warn"),
    error: record("error"),
  };
}

/** The store, with each call recorded as `leases.create`, and a hook before it. Watches are not recorded. */
export function watchedStore(
  store: NetworkStore,
  before: (method: string, ...parameters: readonly unknown[]) => unknown = () => undefined,
): { readonly store: NetworkStore; readonly calls: string[] } {
  const calls: string[] = [];
  const watched = <C extends object>(name: string, contract: C): C =>
    new Proxy(contract, {
      get(target, property) {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== "function" || property === "watch") return member;
        return async (...parameters: readonly unknown[]) => {
          const call = `${name}.${String(property)}`;
          calls.push(call);
          await before(call, ...parameters);
          return await member.apply(target, parameters);
        };
      },
    });
  const { description, feed, leases, config, records } = store;
  return {
    calls,
    store: {
      description,
      roundTripMs: null,
      feed: watched("feed", feed),
      leases: watched("leases", leases),
      config: watched("config", config),
      records: watched("records", records),
    },
  };
}
