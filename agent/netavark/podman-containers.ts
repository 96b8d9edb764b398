/**
 * Podman's containers on named networks: their addresses, what other hosts learn of them, and the bridge that their
 * interfaces join. tulle-netavark makes the interfaces itself.
 *
 * podman has no daemon that could be asked which containers there are. The kernel tells: the host's end of a container's
 * pair goes with the container, however that ended.
 */

import { shortDigest } from "../../backends/attachment/digest.ts";
import { segmentPortName } from "../../backends/segments/names.ts";
import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { errorFields, FailureSeries, type Logger } from "../../ipam/log.ts";
import type { AddressBook, NamedNetworksFeed } from "../../ipam/named-networks/contracts.ts";
import type { HostId, Member, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { Changes } from "../docker-driver/changes.ts";
import { isAddressesOnly } from "../docker-driver/context.ts";
import { macOfAddress, requireUnusedMac } from "../docker-driver/endpoint-mac.ts";
import { namesOf } from "../docker-driver/endpoints.ts";
import type { SegmentHost } from "../named-networks/segment-host.ts";
import type { NameClient, NameClients } from "../names/clients.ts";
import { EndpointFile, type PodmanEndpoint } from "./endpoint-record.ts";
import type { EndpointName, SetupCall } from "./requests.ts";

/** The plugin gives up after 2 s. */
const VIEW_MS = 1_200;
const SEGMENT_MS = 1_500;
const RULES_MS = 400;
const PASS_EVERY_MS = 60_000;
/** Begins the ids of endpoints: an address of the book with another one belongs to another engine. */
const PREFIX = "podman.";

/** The host's ends of containers' pairs, by name. Both throw NetlinkError. */
export interface HostEnds {
  has(port: string): boolean;
  /** Absent is a success. */
  remove(port: string): Promise<void>;
}

export interface PodmanContainersOptions {
  readonly feed: NamedNetworksFeed;
  readonly book: AddressBook;
  readonly host: HostId;
  readonly pairs: HostEnds;
  /** Null until this host's interface is known. */
  readonly segments: () => Pick<SegmentHost, "ready" | "ruled"> | null;
  /** Fires after each change of the feed's view and of `segments`. */
  readonly changes: Changes;
  readonly stateDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What the plugin makes the interface of. */
export interface PreparedEndpoint {
  readonly network: NamedNetwork;
  readonly member: Member;
  readonly bridge: string;
  readonly mtuBytes: number;
}

export class PodmanContainers implements NameClients {
  readonly #options: PodmanContainersOptions;
  readonly #file: EndpointFile;
  readonly #endpoints = new Map<string, PodmanEndpoint>();
  readonly #idle: Sleep;
  readonly #failures: FailureSeries;
  /** By endpoint: what is under way, one after another. A plugin that gave up may ask again before. */
  readonly #work = new Map<string, Promise<unknown>>();
  /** The file may name endpoints that are dropped. */
  #isUnsaved = false;
  /** Endpoints without a pair, and addresses without an endpoint, in the last pass. */
  #suspects: ReadonlySet<string> = new Set();

  /** Reads what the last run left. Throws what the file system throws. */
  constructor(options: PodmanContainersOptions) {
    this.#options = options;
    this.#file = new EndpointFile(options.stateDir, options.logger);
    this.#idle = new Sleep(options.clock);
    this.#failures = new FailureSeries(
      options.logger,
      "podman's containers cannot be compared; retried",
      "podman's containers are compared",
    );
    for (const endpoint of this.#file.read()) this.#endpoints.set(endpoint.member.endpoint, endpoint);
  }

  /** Whether containers were there at the last stop: named networks are needed before podman asks. */
  static areKnown(stateDir: string, logger: Logger): boolean {
    return new EndpointFile(stateDir, logger).read().length > 0;
  }

  get count(): number {
    return this.#endpoints.size;
  }

  clientOf(source: Address): NameClient | null {
    const own = [...this.#endpoints.values()].filter(({ outside }) => outside?.equals(source));
    return own.length === 0 ? null : { networks: own.map(({ network }) => network) };
  }

  /**
   * The network of this name or id; addresses are held for it from now on. Throws ConfigError, and ConflictError while the
   * store is not known.
   */
  async find(name: string, signal: AbortSignal): Promise<NamedNetwork> {
    const { feed, changes } = this.#options;
    const read = (): NamedNetwork | null => {
      const all = [...feed.view.networks.values()];
      return all.find((network) => network.name === name) ?? all.find(({ id }) => id === name) ?? null;
    };
    const isOver = (): true | null => (read() !== null || feed.storeProblem === null ? true : null);
    await changes.until(isOver, VIEW_MS, signal);
    const network = read();
    const shown = escapeText(name, 130);
    if (network === null && feed.storeProblem !== null)
      throw new ConflictError(
        `the store is not reached, and this host knows no network "${shown}"; try again`,
        {
          retryable: true,
        },
      );
    if (network === null)
      throw new ConfigError(`there is no network "${shown}": create it with "tulle network create ${shown}"`);
    if (isAddressesOnly(network))
      throw new ConfigError(`network "${shown}" is a pool of addresses of a LAN; choose another`);
    // Its first container need not wait for the store.
    this.#options.book.prepare(network);
    return network;
  }

  /**
   * Gives addresses, tells other hosts, and makes bridge and rules ready. All or nothing. Throws ConfigError,
   * ConflictError, NoFreeAddressError, StoreError, and what the file system throws.
   */
  async setup(call: SetupCall, signal: AbortSignal): Promise<PreparedEndpoint> {
    const network = await this.find(call.network, signal);
    const endpoint = endpointId(call);
    return await this.#inTurn(endpoint, async () => {
      signal.throwIfAborted();
      const former = this.#endpoints.get(endpoint);
      // podman sets up what it starts: it was killed, or gave up, before it tore the former one down.
      if (former !== undefined) await this.#drop(former);
      const addresses = await this.#take(network, endpoint, call, signal);
      return await this.#join(network, endpoint, addresses, call, signal);
    });
  }

  /** Forgets the endpoint and removes its pair. Absent is a success. Throws what the file system throws, NetlinkError. */
  async teardown(name: EndpointName): Promise<void> {
    const id = endpointId(name);
    await this.#inTurn(id, async () => {
      const endpoint = this.#endpoints.get(id);
      if (endpoint !== undefined) await this.#drop(endpoint);
    });
  }

  /** Compares with the kernel at once and every minute, until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.pass();
        this.#failures.succeeded();
      } catch (error) {
        this.#failures.failed(error);
      }
      await this.#idle.for(PASS_EVERY_MS, signal);
    }
  }

  /** Publishes what is there, and removes what two passes running did not find in the kernel. */
  async pass(): Promise<void> {
    const { feed, logger, host } = this.#options;
    for (const { network, member } of this.#endpoints.values()) feed.setMember(network, member);
    for (const [network, hosts] of feed.view.members)
      for (const member of hosts.get(host)?.members ?? [])
        if (member.engine === "netavark" && !this.#isKnown(member.endpoint))
          await this.#judgeUnknown({ network, member, outside: null });
    const suspects = new Set<string>();
    for (const endpoint of [...this.#endpoints.values()]) {
      const key = endpoint.member.endpoint;
      if (this.#hasPair(endpoint) || this.#work.has(key)) continue;
      if (!this.#suspects.has(key)) suspects.add(key);
      else {
        logger.info("podman container is gone", { container: endpoint.member.names[0] ?? key });
        await this.#inTurn(key, () => this.#drop(endpoint));
      }
    }
    this.#releaseUnused(suspects);
    this.#suspects = suspects;
    if (this.#isUnsaved) await this.#save();
  }

  /** A member without a record: the file was lost, and its container runs or not. */
  async #judgeUnknown(endpoint: PodmanEndpoint): Promise<void> {
    const { feed, book } = this.#options;
    const { network, member } = endpoint;
    if (this.#hasPair(endpoint)) {
      this.#endpoints.set(member.endpoint, endpoint);
      await this.#save();
      return;
    }
    feed.removeMember(network, member.endpoint);
    for (const [, address] of entriesOf(member.addresses))
      if (book.endpointOf(network, address) === member.endpoint) book.release(network, address);
  }

  /** A setup that was killed may have left addresses without an endpoint. */
  #releaseUnused(suspects: Set<string>): void {
    const { feed, book } = this.#options;
    for (const network of feed.view.networks.keys()) {
      for (const address of book.given(network)) {
        const endpoint = book.endpointOf(network, address);
        if (endpoint === null || !endpoint.startsWith(PREFIX)) continue;
        if (this.#isKnown(endpoint)) continue;
        const key = `${network}/${address}`;
        if (this.#suspects.has(key)) book.release(network, address);
        else suspects.add(key);
      }
    }
  }

  async #inTurn<T>(endpoint: string, work: () => Promise<T>): Promise<T> {
    const before = this.#work.get(endpoint) ?? Promise.resolve();
    const result = before.then(work, work);
    this.#work.set(endpoint, result);
    try {
      return await result;
    } finally {
      if (this.#work.get(endpoint) === result) this.#work.delete(endpoint);
    }
  }

  async #take(
    network: NamedNetwork,
    endpoint: string,
    { wanted }: SetupCall,
    signal: AbortSignal,
  ): Promise<PerFamily<Address>> {
    const { book } = this.#options;
    for (const [family, address] of entriesOf(wanted))
      if (network.pools[family] === undefined)
        throw new ConfigError(`network ${network.name} has no IPv${family} subnet; leave ${address} out`);
    const taken: [number, Address][] = [];
    try {
      for (const [family] of entriesOf(network.pools))
        taken.push([family, await book.take(network, family, wanted[family] ?? null, endpoint, signal)]);
    } catch (error) {
      for (const [, address] of taken) book.release(network.id, address);
      throw error;
    }
    return Object.fromEntries(taken);
  }

  async #join(
    network: NamedNetwork,
    endpoint: string,
    addresses: PerFamily<Address>,
    call: SetupCall,
    signal: AbortSignal,
  ): Promise<PreparedEndpoint> {
    const { feed, segments, changes, clock } = this.#options;
    const { container, containerName, aliases, outside } = call;
    const mac = call.mac ?? macOfAddress(addresses);
    const names = namesOf(containerName, aliases, container);
    const member: Member = { endpoint, container, engine: "netavark", names, mac, addresses };
    const record = { network: network.id, member, outside: network.isInternal ? null : outside };
    this.#takeOutside(record);
    this.#endpoints.set(endpoint, record);
    try {
      if (call.mac !== null) requireUnusedMac(feed.view, network, member);
      feed.setMember(network.id, member);
      const saved = this.#save();
      const host = await changes.until(segments, SEGMENT_MS, signal);
      await saved;
      if (host === null)
        throw new ConflictError("tulled has not joined its network yet: see tulle status, and try again", {
          retryable: true,
        });
      const { bridge, mtuBytes } = await host.ready(network.id, signal);
      // Without its rules a forged first packet could pass; iptables under a lock can take long.
      await Promise.race([host.ruled(), pause(clock, RULES_MS, signal)]);
      return { network, member, bridge, mtuBytes };
    } catch (error) {
      await this.#drop(record);
      throw error;
    }
  }

  /**
   * Takes the address to the outside from a container that is gone and not dropped yet: with it the new container could
   * resolve names of the other one's networks.
   */
  #takeOutside({ outside, member }: PodmanEndpoint): void {
    if (outside === null) return;
    for (const [id, other] of this.#endpoints)
      if (other.member.container !== member.container && other.outside?.equals(outside))
        this.#endpoints.set(id, { ...other, outside: null });
  }

  async #drop({ network, member }: PodmanEndpoint): Promise<void> {
    const { feed, book, pairs } = this.#options;
    const { endpoint, addresses } = member;
    feed.removeMember(network, endpoint);
    await pairs.remove(segmentPortName(network, endpoint));
    this.#endpoints.delete(endpoint);
    await this.#saveLater();
    // An earlier end that could not be recorded may be of an address that another container has by now.
    for (const [, address] of entriesOf(addresses))
      if (book.endpointOf(network, address) === endpoint) book.release(network, address);
  }

  /** On a full disk containers can be removed nevertheless, which may give room: the next pass saves again. */
  async #saveLater(): Promise<void> {
    try {
      await this.#save();
    } catch (error) {
      this.#isUnsaved = true;
      this.#options.logger.debug("the end of a podman container is not recorded yet", errorFields(error));
    }
  }

  /** True also while it is set up, when its addresses may be taken already. */
  #isKnown(endpoint: string): boolean {
    return this.#endpoints.has(endpoint) || this.#work.has(endpoint);
  }

  #hasPair({ network, member }: PodmanEndpoint): boolean {
    return this.#options.pairs.has(segmentPortName(network, member.endpoint));
  }

  async #save(): Promise<void> {
    await this.#file.save(() => this.#endpoints.values());
    this.#isUnsaved = false;
  }
}

function endpointId({ container, interfaceName }: EndpointName): string {
  return `${PREFIX}${container.slice(0, 64)}.${shortDigest(`${container}\n${interfaceName}`).slice(0, 12)}`;
}
