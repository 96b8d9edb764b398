/**
 * The addresses of this host in named networks.
 *
 * Addresses are records of the store, each held by one host. A host holds some in reserve, on its disk, so that a
 * container starts at local speed and while the store is away. Refilling and comparing happen in the background.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type Address, entriesOf, type Family } from "../addresses/ip.ts";
import { Backoff, type Clock, pause, Sleep } from "../clock.ts";
import { CodecError, ConfigError, ConflictError, errorMessage, NoFreeAddressError } from "../errors.ts";
import { makeFolder } from "../files/folder.ts";
import { FailureSeries, type Logger } from "../log.ts";
import { fired } from "../part-signal.ts";
import type { Records } from "../stores/contracts.ts";
import { AddressRecords, type HeldAddress, type Holder } from "./address-records.ts";
import { decodeCatalogue, idsOf } from "./catalogue-record.ts";
import type { AddressBook } from "./contracts.ts";
import { within } from "./deadline.ts";
import { type Answer, Handover, type Wanted } from "./handover.ts";
import { Holdings } from "./holdings.ts";
import { HostAddresses } from "./host-addresses.ts";
import type { HostId, NamedNetwork, NetworkId } from "./named-network.ts";
import { containerAddressProblem } from "./network-rules.ts";
import { CATALOGUE_RECORD } from "./record-names.ts";
import { inParallel } from "./record-removal.ts";

/** A container's start waits no longer: an engine's call ends after 2 s. */
const TAKE_MS = 1_800;
/** How often this host's addresses are compared with the store, besides after an outage. */
const AUDIT_MS = 5 * 60_000;
const RETRY_MS = { baseMs: 200, maxMs: 5_000 };
/** Hosts that are asked at once for an address of a full pool. */
const MOST_ASKED = 16;
const PARALLEL_NETWORKS = 8;

export interface AddressBookOptions {
  readonly records: Records;
  readonly self: Holder;
  /** The folder of the files with this host's addresses; made where it is missing. */
  readonly stateDir: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** True when the host is proven not to come back as it was (gone-hosts.ts). */
  readonly isGone: (host: HostId, signal: AbortSignal) => Promise<boolean>;
  /** False when this host's own lease ran out: others may have proven it gone, so that the store must be asked first. */
  readonly isLeaseHeld: () => boolean;
}

/** The AddressBook of a store. */
export class StoreAddressBook implements AddressBook {
  readonly #options: AddressBookOptions;
  readonly #folder: string;
  readonly #records: AddressRecords;
  readonly #handover: Handover;
  readonly #networks = new Map<NetworkId, HostAddresses>();
  /** By network and family. */
  readonly #reclaiming = new Map<string, Promise<boolean>>();
  /** Those that the catalogue did not have at the last comparison: nothing is written for them. */
  #removed = new Set<NetworkId>();
  readonly #pause: Sleep;
  /** Something to do that the next round must not miss. */
  #isDue = true;
  #nextAuditMs = Number.NEGATIVE_INFINITY;

  /** Reads the files. Throws what the file system throws when the folder cannot be made or read. */
  constructor(options: AddressBookOptions) {
    this.#options = options;
    this.#folder = join(options.stateDir, "named-addresses");
    this.#records = new AddressRecords(options.records, options.self);
    this.#handover = new Handover({
      ...options,
      handOver: (network, wanted, to, signal) => this.#handOver(network, wanted, to, signal),
    });
    this.#pause = new Sleep(options.clock);
    makeFolder(this.#folder, 0o700);
    for (const name of readdirSync(this.#folder).filter((each) => each.endsWith(".json"))) {
      const holdings = Holdings.read(this.#folder, name, options.logger);
      if (holdings !== null) this.#add(holdings);
    }
  }

  /** One sentence for each address that another host holds too. */
  get problems(): readonly string[] {
    return [...this.#networks.values()].flatMap(({ problems }) => problems);
  }

  prepare(network: NamedNetwork): void {
    this.#of(network);
    this.#refill();
  }

  async forget(network: NetworkId): Promise<void> {
    const addresses = this.#networks.get(network);
    if (addresses === undefined || addresses.holdings.given.length > 0) return;
    this.#networks.delete(network);
    await addresses.holdings.discard();
  }

  async take(
    network: NamedNetwork,
    family: Family,
    wanted: Address | null,
    endpoint: string | null,
    signal: AbortSignal,
  ): Promise<Address> {
    requireUsable(network, family, wanted);
    const addresses = this.#of(network);
    const late = `the store did not answer within ${TAKE_MS / 1000} s, and this host has no address of network ${network.name} in reserve; try again`;
    const address = await within(TAKE_MS, late, this.#options.clock, signal, async (part) => {
      if (!this.#options.isLeaseHeld()) await addresses.audit(part);
      const known = endpoint === null ? null : addresses.holdings.givenTo(endpoint, family);
      if (known !== null) return requireWanted(known, wanted, endpoint);
      if (wanted !== null) return await this.#takeWanted(addresses, wanted, endpoint, part);
      return await this.#takeAny(addresses, family, endpoint, part);
    });
    await this.#record(addresses, address);
    this.#refill();
    return address;
  }

  release(network: NetworkId, address: Address): void {
    const addresses = this.#networks.get(network);
    if (!addresses?.holdings.isGiven(address)) return;
    addresses.release(address);
    addresses.holdings.keep().catch((error: unknown) => {
      // The comparison with the containers finds it again.
      this.#options.logger.warn("released address could not be recorded", { error: errorMessage(error) });
    });
    this.#refill();
  }

  endpointOf(network: NetworkId, address: Address): string | null {
    return this.#networks.get(network)?.holdings.endpointOf(address) ?? null;
  }

  given(network: NetworkId): readonly Address[] {
    return this.#networks.get(network)?.holdings.given ?? [];
  }

  /** Refills reserves, compares with the store and answers other hosts until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#maintain(signal), this.#handover.serve(signal)]);
  }

  async #maintain(signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options;
    const backoff = new Backoff({ ...RETRY_MS, random });
    const failures = new FailureSeries(
      logger,
      "reserve of addresses could not be refilled",
      "reserve of addresses is refilled",
    );
    while (!signal.aborted) {
      this.#isDue = false;
      try {
        await this.#round(signal);
        failures.succeeded();
        backoff.reset();
        if (!this.#isDue) await this.#pause.for(this.#waitMs(clock.monotonicMs()), signal);
      } catch (error) {
        if (signal.aborted) return;
        failures.failed(error);
        // What happened to our records during an outage is not known.
        this.#nextAuditMs = Number.NEGATIVE_INFINITY;
        await pause(clock, backoff.nextMs(), signal);
      }
    }
  }

  get #present(): readonly HostAddresses[] {
    return [...this.#networks].filter(([id]) => !this.#removed.has(id)).map(([, addresses]) => addresses);
  }

  /** Until the next comparison: soon where one met addresses that were under way. */
  #waitMs(nowMs: number): number {
    const isIncomplete = this.#present.some(({ holdings }) => !holdings.isComplete);
    return isIncomplete ? RETRY_MS.baseMs : this.#nextAuditMs - nowMs;
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const isAudit = clock.monotonicMs() >= this.#nextAuditMs;
    if (isAudit) await this.#leaveRemoved(signal);
    await inParallel(this.#present, PARALLEL_NETWORKS, async (addresses) => {
      if (isAudit || !addresses.holdings.isComplete) await addresses.audit(signal);
      for (const [family] of entriesOf(addresses.network.pools)) await addresses.level(family, signal);
      if (!addresses.holdings.isOnDisk) await addresses.holdings.persist();
    });
    if (isAudit) this.#nextAuditMs = clock.monotonicMs() + AUDIT_MS;
  }

  /**
   * Gives up the reserve of networks that were removed. Addresses of containers here stay until those are gone, but on the
   * disk only: no host would delete their records.
   */
  async #leaveRemoved(signal: AbortSignal): Promise<void> {
    // One that is created while the catalogue is read may not be in the answer.
    const before = [...this.#networks];
    const known = await this.#knownNetworks(signal);
    if (known === null) return;
    const removed = before.filter(([id]) => !known.has(id));
    this.#removed = new Set(removed.map(([id]) => id));
    await inParallel(removed, PARALLEL_NETWORKS, async ([id, addresses]) => {
      await addresses.leave(signal);
      await this.forget(id);
    });
  }

  /** Null when the catalogue cannot be read: then no network is known to be removed. */
  async #knownNetworks(signal: AbortSignal): Promise<ReadonlySet<string> | null> {
    const entry = await this.#options.records.read(CATALOGUE_RECORD, signal);
    if (entry === null) return null;
    try {
      return idsOf(decodeCatalogue(entry.value));
    } catch (error) {
      if (error instanceof CodecError) return null;
      throw error;
    }
  }

  async #takeAny(
    addresses: HostAddresses,
    family: Family,
    endpoint: string | null,
    signal: AbortSignal,
  ): Promise<Address> {
    while (true) {
      const reserved = addresses.takeFromReserve(family, endpoint);
      if (reserved !== null) return reserved;
      const acquired = await addresses.acquire(family, signal);
      if (acquired !== null) {
        if (addresses.takeHeld(acquired, endpoint)) return acquired;
      } else if (!(await this.#reclaimTogether(addresses, family, signal)))
        throw noFreeAddress(addresses.network, family);
    }
  }

  async #takeWanted(
    addresses: HostAddresses,
    wanted: Address,
    endpoint: string | null,
    signal: AbortSignal,
  ): Promise<Address> {
    const { id, name } = addresses.network;
    if (!addresses.holdings.has(wanted) && !(await addresses.acquireOne(wanted, signal))) {
      const held = await this.#records.read(id, wanted, signal);
      if (held !== null) await this.#obtain(addresses, held, signal);
    }
    if (addresses.takeHeld(wanted, endpoint)) return wanted;
    const user = addresses.holdings.endpointOf(wanted);
    throw new ConflictError(
      `address ${wanted} of network ${name} is in use on this host${user === null ? "" : ` by endpoint ${user}`}; choose another`,
    );
  }

  /** Gets an address that another host holds, or throws ConflictError that names the host. */
  async #obtain(addresses: HostAddresses, held: HeldAddress, signal: AbortSignal): Promise<void> {
    const { address, holder } = held;
    const { id, name } = addresses.network;
    if (holder?.host === this.#options.self.host) return void (await addresses.audit(signal));
    if (holder === null)
      throw new ConflictError(
        `address ${address} of network ${name} has a damaged record; see "tulle network ipam check"`,
      );
    if (await this.#options.isGone(holder.host, signal)) {
      if (await addresses.inherit(held, signal)) return;
    }
    const answer = await this.#handover.ask(holder.host, id, address, signal);
    if ("address" in answer && (await addresses.adopt(address, signal))) return;
    const reason = "refusal" in answer ? answer.refusal : "it was given to another host meanwhile";
    throw new ConflictError(
      `address ${address} of network ${name} is held by host ${holder.name}: ${reason}; choose another`,
    );
  }

  /** One for all containers that start at the moment: a host has one request of this one for any address of a network. */
  async #reclaimTogether(addresses: HostAddresses, family: Family, signal: AbortSignal): Promise<boolean> {
    const key = `${addresses.network.id}/${family}`;
    const running =
      this.#reclaiming.get(key) ??
      this.#reclaim(addresses, family, AbortSignal.timeout(TAKE_MS)).finally(() => {
        this.#reclaiming.delete(key);
      });
    this.#reclaiming.set(key, running);
    const given = await Promise.race([running, fired(signal)]);
    signal.throwIfAborted();
    return given === true;
  }

  /**
   * A full pool: takes addresses of hosts that are gone into the reserve, else unused ones of others. False when there is
   * none. Throws StoreError.
   */
  async #reclaim(addresses: HostAddresses, family: Family, signal: AbortSignal): Promise<boolean> {
    const pool = addresses.network.pools[family];
    const byHost = new Map<HostId, HeldAddress[]>();
    for (const held of await addresses.list(signal)) {
      const { holder, address } = held;
      if (holder === null || holder.host === this.#options.self.host) continue;
      if (pool?.allocation.contains(address))
        byHost.set(holder.host, [...(byHost.get(holder.host) ?? []), held]);
    }
    const most = [...byHost].sort(([, a], [, b]) => b.length - a.length).slice(0, MOST_ASKED);
    const given = await Promise.all(
      most.map(async ([host, [first]]) => {
        if (first === undefined) return false;
        if (await this.#options.isGone(host, signal)) return await addresses.inherit(first, signal);
        const answer = await this.#handover.ask(host, addresses.network.id, family, signal);
        return "address" in answer && (await addresses.adopt(answer.address, signal));
      }),
    );
    return given.includes(true);
  }

  async #handOver(network: NetworkId, wanted: Wanted, to: Holder, signal: AbortSignal): Promise<Answer> {
    const addresses = this.#networks.get(network);
    if (addresses === undefined) return { refusal: "that host does not know the network" };
    return await addresses.handOver(wanted, to, signal);
  }

  /** An address counts as given once it is in the file; the disk follows. */
  async #record(addresses: HostAddresses, address: Address): Promise<void> {
    try {
      await addresses.holdings.keep();
    } catch (error) {
      addresses.release(address);
      throw new ConfigError(
        `address ${address} cannot be recorded in ${this.#folder}: ${errorMessage(error)}; make room or repair the disk`,
        { cause: error },
      );
    }
  }

  #of(network: NamedNetwork): HostAddresses {
    // It may have been put back.
    this.#removed.delete(network.id);
    const known = this.#networks.get(network.id);
    if (known === undefined) return this.#add(Holdings.empty(this.#folder, network));
    known.holdings.network = network;
    return known;
  }

  #add(holdings: Holdings): HostAddresses {
    const { self, random } = this.#options;
    const addresses = new HostAddresses({ holdings, records: this.#records, self: self.host, random });
    this.#networks.set(holdings.network.id, addresses);
    return addresses;
  }

  #refill(): void {
    this.#isDue = true;
    this.#pause.wake();
  }
}

function requireUsable(network: NamedNetwork, family: Family, wanted: Address | null): void {
  const pool = network.pools[family];
  if (pool === undefined)
    throw new ConfigError(`network ${network.name} has no IPv${family} subnet; ask for another family`);
  const problem = wanted === null ? null : containerAddressProblem(pool, wanted);
  if (problem !== null)
    throw new ConfigError(`network ${network.name}: ${problem}; choose another address in ${pool.subnet}`);
}

function requireWanted(known: Address, wanted: Address | null, endpoint: string | null): Address {
  if (wanted === null || wanted.equals(known)) return known;
  throw new ConflictError(
    `endpoint ${endpoint} has the address ${known} already, not ${wanted}; release it first`,
  );
}

function noFreeAddress({ name, pools }: NamedNetwork, family: Family): NoFreeAddressError {
  return new NoFreeAddressError(
    `network ${name} has no free address in ${pools[family]?.allocation}; see "tulle network ipam check", or create a larger network`,
    {
      details: { remedy: "remove containers that are not needed, or create a network with a larger subnet" },
    },
  );
}
