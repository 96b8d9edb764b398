/**
 * The endpoints of this host: their addresses, interface pairs and what other hosts learn of them.
 *
 * Each change is in its file before the engine gets its answer. Removing is done in any order and any number of times.
 */

import { type Address, entriesOf, type Family, mapFamilies } from "../../ipam/addresses/ip.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { errorFields } from "../../ipam/log.ts";
import { MAX_NAMES } from "../../ipam/named-networks/member-codec.ts";
import type { Member, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { type DriverContext, isAddressesOnly } from "./context.ts";
import { macOfAddress, requireUnusedMac } from "./endpoint-mac.ts";
import { decodeNetwork, decodeNetworks, type EngineEndpoint, type EngineNetwork } from "./engine-model.ts";
import { lanAddresses } from "./lan-addresses.ts";
import type { NetworkId } from "./network-id.ts";
import type { DockerNetwork, EndpointRecord } from "./records.ts";
import type { EndpointCall, NewEndpointCall } from "./requests.ts";

/** dockerd may be waiting for our answer while we wait for its. */
const ENGINE_TIMEOUT_MS = 500;
/** An address that was given and came into no endpoint within this time belongs to a start that failed. */
const PENDING_MS = 60_000;
/** How long a start waits for the address of a container that is leaving; less than a call of the engine may take. */
const LEAVING_MS = 1_500;

export class Endpoints {
  readonly #context: DriverContext;
  /** Addresses between RequestAddress and CreateEndpoint: when they were given, monotonic milliseconds. */
  readonly #pending = new Map<string, number>();
  /** Endpoints whose pairs are being deleted or were: dockerd has an endpoint leave before it deletes it. */
  readonly #left = new Map<string, Promise<void>>();
  /** By endpoint: addresses to be given back once it is removed. */
  readonly #released = new Map<string, readonly Address[]>();

  constructor(context: DriverContext) {
    this.#context = context;
  }

  /** Gives an address of the network. Throws as AddressBook.take; retryable while its holder is leaving. */
  async takeAddress(
    network: NamedNetwork,
    family: Family,
    wanted: Address | null,
    signal: AbortSignal,
  ): Promise<Address> {
    const { book, clock } = this.#context;
    if (wanted !== null) await this.#untilLeft(network, wanted, signal);
    // Containers on a LAN have no endpoints here: the engine must say that they are gone.
    const mayBeFree = wanted !== null && !isAddressesOnly(network);
    // The book gives it again, unless another host holds it by now.
    if (mayBeFree && this.#isGivenWithoutUse(network.id, wanted)) book.release(network.id, wanted);
    const address = await book.take(network, family, wanted, null, signal);
    this.#pending.set(pendingKey(network.id, address), clock.monotonicMs());
    return address;
  }

  /** A container that starts again asks for its fixed address while the kernel still deletes its former pair. */
  async #untilLeft({ id, name }: NamedNetwork, address: Address, signal: AbortSignal): Promise<void> {
    const readLeft = (): true | null => {
      const holder = this.#holderOf(id, address);
      return holder !== null && this.#left.has(holder.endpoint) ? null : true;
    };
    if (await this.#context.changes.until(readLeft, LEAVING_MS, signal)) return;
    throw new ConflictError(
      `address ${address} of network ${name} belongs to a container that is still leaving: try again in a moment`,
      { retryable: true },
    );
  }

  /**
   * Back into the reserve, unless an endpoint has it: the engine's calls may come in any order, and an endpoint that it
   * forgot is found by the comparison with its containers. Of an endpoint that is leaving, when it has left.
   */
  releaseAddress(network: NetworkId, address: Address): void {
    this.#pending.delete(pendingKey(network, address));
    const holder = this.#holderOf(network, address);
    if (holder === null) this.#context.book.release(network, address);
    else if (this.#left.has(holder.endpoint)) this.#releaseLater(holder, [address]);
  }

  #releaseLater({ endpoint }: EndpointRecord, addresses: readonly Address[]): void {
    this.#released.set(endpoint, [...(this.#released.get(endpoint) ?? []), ...addresses]);
  }

  /**
   * Records an endpoint, tells other hosts of it, and has the network's devices made: under load they take longer than
   * one call may. Throws ConflictError when the id has another endpoint, the MAC is in use, or the store has the address
   * given to another container.
   */
  async create(
    call: NewEndpointCall,
    docker: DockerNetwork,
    network: NamedNetwork,
    signal: AbortSignal,
  ): Promise<EndpointRecord> {
    const { state, links, feed } = this.#context;
    const addresses = mapFamilies(call.addresses, ({ address }) => address);
    for (const [family, address] of entriesOf(addresses)) requireInside(network, family, address);
    if (!state.endpoints.has(call.endpoint))
      for (const [, address] of entriesOf(addresses)) await this.#requireGiven(network, address, signal);
    const mac = call.mac ?? macOfAddress(addresses);
    const former = state.endpoints.get(call.endpoint);
    if (former !== undefined && !isSame(former, docker.dockerId, addresses))
      throw new ConflictError(`endpoint ${call.endpoint} exists already with other addresses: start again`);
    for (const [, address] of entriesOf(addresses)) this.#requireUnused(network, address, call.endpoint);
    if (call.mac !== null)
      requireUnusedMac(this.#context.feed.view, network, { mac: call.mac, endpoint: call.endpoint });
    const record: EndpointRecord = former ?? {
      ...{ endpoint: call.endpoint, dockerId: docker.dockerId, network: network.id, mac, addresses },
      ...{ isJoined: false, container: null, names: [] },
    };
    state.endpoints.set(record.endpoint, record);
    for (const [, address] of entriesOf(addresses)) this.#pending.delete(pendingKey(network.id, address));
    feed.setMember(network.id, memberOf(record));
    try {
      await Promise.all([state.saveEndpoints(), links.prepare(network, signal)]);
    } catch (error) {
      // dockerd releases the address of an endpoint that was not created, and does not delete the endpoint.
      if (former === undefined && state.endpoints.get(record.endpoint) === record) {
        state.endpoints.delete(record.endpoint);
        feed.removeMember(network.id, record.endpoint);
      }
      throw error;
    }
    return record;
  }

  /** Creates the interface pair. Returns the name of the end for the container. */
  async join(call: EndpointCall, network: NamedNetwork, signal: AbortSignal): Promise<string> {
    const { state, links, feed } = this.#context;
    await this.#left.get(call.endpoint);
    const joined = { ...this.require(call), isJoined: true };
    this.#left.delete(call.endpoint);
    state.endpoints.set(call.endpoint, joined);
    feed.setMember(network.id, memberOf(joined));
    const adding = links.add(network, joined, signal);
    try {
      const [name] = await Promise.all([adding, state.saveEndpoints()]);
      if (state.endpoints.get(call.endpoint)?.isJoined) return name;
      throw new ConflictError(`endpoint ${call.endpoint} left the network while it joined: start it again`);
    } catch (error) {
      // A pair that is still being made would stay behind.
      await adding.catch(() => undefined);
      await this.leave(call);
      // The call that removed the endpoint found no pair yet.
      await links.remove(joined);
      throw error;
    }
  }

  /** Takes the endpoint from the network: interface pair and membership. Absent is a success. */
  async leave({ endpoint }: EndpointCall): Promise<void> {
    const { state, feed } = this.#context;
    const record = state.endpoints.get(endpoint);
    if (record === undefined) return;
    feed.removeMember(record.network, endpoint);
    const known = record.isJoined ? undefined : this.#left.get(endpoint);
    const leaving = known ?? this.#takeOut({ ...record, isJoined: false });
    this.#left.set(endpoint, leaving);
    try {
      await leaving;
    } catch (error) {
      this.#left.delete(endpoint);
      throw error;
    }
  }

  async #takeOut(record: EndpointRecord): Promise<void> {
    const { state, links } = this.#context;
    state.endpoints.set(record.endpoint, record);
    await links.remove(record);
    await state.saveEndpoints();
  }

  /** Forgets the endpoint. Absent is a success. */
  async remove(call: EndpointCall): Promise<void> {
    const { state, changes } = this.#context;
    const record = state.endpoints.get(call.endpoint);
    if (record === undefined) return;
    await this.leave(call);
    state.endpoints.delete(call.endpoint);
    this.#left.delete(call.endpoint);
    const released = this.#released.get(call.endpoint) ?? [];
    this.#released.delete(call.endpoint);
    // In one turn with the endpoint's end, or a start that waits for such an address could have it by then.
    for (const address of released) this.releaseAddress(record.network, address);
    try {
      await state.saveEndpoints();
    } finally {
      changes.notify();
    }
  }

  /** Removes an endpoint that the engine has forgotten, and gives back the addresses that it will not release. */
  async discard(record: EndpointRecord): Promise<void> {
    if (!this.#context.state.endpoints.has(record.endpoint)) return;
    this.#releaseLater(record, Object.values(record.addresses));
    await this.remove(record);
  }

  /** Throws ConfigError for an endpoint that is unknown in this network. */
  require({ endpoint, dockerId }: EndpointCall): EndpointRecord {
    const record = this.#context.state.endpoints.get(endpoint);
    if (record !== undefined && record.dockerId === dockerId) return record;
    throw new ConfigError(
      `endpoint ${endpoint} is unknown in network ${dockerId}: start the container again`,
    );
  }

  /** Takes an endpoint of a running container from the engine: it joined before the file of endpoints was lost. */
  async adopt(
    docker: { readonly dockerId: string; readonly network: NetworkId },
    found: EngineEndpoint,
  ): Promise<void> {
    const { state, feed, logger, host } = this.#context;
    const { endpoint, container, mac, name, addresses } = found;
    const all = entriesOf(addresses).map(([, address]) => address);
    // One without a container is joining, and has its record.
    if (state.endpoints.has(endpoint) || container === null || mac === null || all.length === 0) return;
    if (all.some((address) => this.#holderOf(docker.network, address) !== null)) return;
    const members = feed.view.members.get(docker.network)?.get(host)?.members ?? [];
    const shown = members.find((member) => member.endpoint === endpoint);
    const names = shown?.names ?? namesOf(name, [], container);
    const record = { ...docker, endpoint, mac, addresses, isJoined: true, container, names };
    state.endpoints.set(endpoint, record);
    feed.setMember(docker.network, memberOf(record));
    logger.info("endpoint found again by its container", { endpoint, container: name });
    await state.saveEndpoints();
  }

  /** Takes the containers' names from the engine's network. */
  async learn(engine: EngineNetwork): Promise<void> {
    for (const { endpoint, container, name } of engine.endpoints) {
      const record = this.#context.state.endpoints.get(endpoint);
      if (record === undefined) continue;
      const isKnown = record.names.includes(name.toLowerCase());
      const names = isKnown ? record.names : namesOf(name, [], container);
      await this.describe(record, container ?? record.container, names);
    }
  }

  /** Publishes container and names of an endpoint where they have changed. */
  async describe(record: EndpointRecord, container: string | null, names: readonly string[]): Promise<void> {
    const { state, feed, changes } = this.#context;
    if (record.container === container && record.names.join() === names.join()) return;
    const current = state.endpoints.get(record.endpoint);
    if (current === undefined) return;
    const next = { ...current, container, names };
    state.endpoints.set(next.endpoint, next);
    if (next.isJoined) feed.setMember(next.network, memberOf(next));
    changes.notify();
    await state.saveEndpoints();
  }

  /** Asks the engine for the containers of a network of it; null when it does not answer in time. */
  async askEngine(dockerId: string): Promise<EngineNetwork | null> {
    const call = { method: "GET", path: `/networks/${dockerId}` } as const;
    return await this.#context.engine.call(call, ENGINE_TIMEOUT_MS).then(decodeNetwork, () => null);
  }

  /** Removes endpoints and addresses of a network that no container of the engine has. */
  async dropStale(network: NamedNetwork): Promise<void> {
    if (isAddressesOnly(network)) return await this.#dropUnusedOfLan(network);
    const { state } = this.#context;
    const dockers = [...state.networks.values()].filter((docker) => docker.network === network.id);
    for (const { dockerId } of dockers) {
      const joined = state.endpointsOf(dockerId).filter(({ isJoined }) => isJoined);
      const engine = await this.askEngine(dockerId);
      if (engine !== null) await this.dropMissing(joined, engine.endpoints);
    }
  }

  /** Nothing while the engine does not tell which addresses of the LAN its containers have. */
  async #dropUnusedOfLan(network: NamedNetwork): Promise<void> {
    const { engine, logger } = this.#context;
    const read = async (path: string) => await engine.call({ method: "GET", path }, ENGINE_TIMEOUT_MS);
    const unused = this.unusedAddresses(network.id);
    try {
      const all = decodeNetworks(await read("/networks"));
      const used = await lanAddresses(network, all, async (id) =>
        decodeNetwork(await read(`/networks/${id}`)),
      );
      for (const address of unused)
        if (!used.has(`${address}`) && this.#isUnused(network.id, address))
          this.releaseAddress(network.id, address);
    } catch (error) {
      logger.debug("addresses of a LAN stay given, because the engine does not answer", errorFields(error));
    }
  }

  /** Removes those of `joined` that the engine, which was asked after they joined, does not list. */
  async dropMissing(joined: readonly EndpointRecord[], present: readonly EngineEndpoint[]): Promise<void> {
    const listed = new Set(present.map(({ endpoint }) => endpoint));
    for (const record of joined) {
      if (listed.has(record.endpoint)) continue;
      this.#context.logger.info("endpoint without a container removed", {
        endpoint: record.endpoint,
        addresses: Object.values(record.addresses).map(String),
      });
      await this.discard(record);
    }
  }

  /** Given addresses of a network that belong to no endpoint and to no start under way. */
  unusedAddresses(network: NetworkId): readonly Address[] {
    return this.#context.book.given(network).filter((address) => this.#isUnused(network, address));
  }

  #isGivenWithoutUse(network: NetworkId, address: Address): boolean {
    const isGiven = this.#context.book.given(network).some((each) => each.equals(address));
    return isGiven && this.#isUnused(network, address);
  }

  #isUnused(network: NetworkId, address: Address): boolean {
    const { feed, host, clock, book } = this.#context;
    // Docker names no endpoint: another engine of this host does, and takes addresses of the same book.
    if (book.endpointOf(network, address) !== null) return false;
    const sinceMs = this.#pending.get(pendingKey(network, address));
    if (sinceMs !== undefined && clock.monotonicMs() - sinceMs < PENDING_MS) return false;
    const has = ({ addresses }: Pick<Member, "addresses">): boolean =>
      addresses[address.family]?.equals(address) === true;
    // After the loss of the book's file no address has an endpoint.
    const members = feed.view.members.get(network)?.get(host)?.members ?? [];
    if (members.some((member) => member.engine !== "docker" && has(member))) return false;
    return this.#holderOf(network, address) === null;
  }

  /** The endpoint of this host that has the address. */
  #holderOf(network: NetworkId, address: Address): EndpointRecord | null {
    for (const record of this.#context.state.endpoints.values())
      if (record.network === network && record.addresses[address.family]?.equals(address)) return record;
    return null;
  }

  /** The engine may have got an address while its pool was a draft, without the store. */
  async #requireGiven(network: NamedNetwork, address: Address, signal: AbortSignal): Promise<void> {
    if (this.#context.book.given(network.id).some((each) => each.equals(address))) return;
    await this.takeAddress(network, address.family, address, signal);
  }

  #requireUnused({ id, name }: NamedNetwork, address: Address, endpoint: string): void {
    const holder = this.#holderOf(id, address);
    if (holder === null || holder.endpoint === endpoint) return;
    throw new ConflictError(
      `address ${address} of network ${name} belongs to ${holder.names[0] ?? `endpoint ${holder.endpoint}`}: start the container again`,
    );
  }
}

/** What other hosts learn of an endpoint. */
export function memberOf({ endpoint, container, names, mac, addresses }: EndpointRecord): Member {
  return { endpoint, container, engine: "docker", names, mac, addresses };
}

/**
 * The container's name, its aliases and its short id, once each, as names in the DNS are compared; as many as a record
 * can have.
 */
export function namesOf(
  name: string,
  aliases: readonly string[],
  container: string | null,
): readonly string[] {
  const others = aliases.slice(0, MAX_NAMES - 2);
  const all = [name, ...others, ...(container === null ? [] : [container.slice(0, 12)])];
  const names = all.map((each) => each.toLowerCase().replace(/^\.+|\.+$/g, ""));
  return [...new Set(names.filter((each) => each !== ""))];
}

function requireInside(network: NamedNetwork, family: Family, address: Address): void {
  const pool = network.pools[family];
  if (pool?.subnet.contains(address) === true) return;
  throw new ConfigError(
    `${address} is not in network ${network.name}: remove the container and start it again`,
  );
}

function isSame(record: EndpointRecord, dockerId: string, addresses: EndpointRecord["addresses"]): boolean {
  const key = (values: EndpointRecord["addresses"]): string => entriesOf(values).map(String).join();
  return record.dockerId === dockerId && key(record.addresses) === key(addresses);
}

function pendingKey(network: NetworkId, address: Address): string {
  return `${network}/${address}`;
}
