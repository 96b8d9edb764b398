/**
 * Keeps endpoints, names and addresses equal to the engine's containers: after each event of a container that of this
 * one, and every minute all. What is gone is removed because the engine says so, never by age.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { FailureSeries } from "../../ipam/log.ts";
import { type DriverContext, isAddressesOnly } from "./context.ts";
import { type Endpoints, memberOf, namesOf } from "./endpoints.ts";
import { EngineError } from "./engine-client.ts";
import { engineFailures } from "./engine-failures.ts";
import { decodeContainer, type EngineContainer, type EngineNetwork } from "./engine-model.ts";
import type { EngineNetworks } from "./engine-networks.ts";
import { lanAddresses } from "./lan-addresses.ts";
import { DRIVER } from "./mirror-plan.ts";
import type { NetworkId } from "./network-id.ts";

const TIMEOUT_MS = 5_000;
/** What the engine has lacked for this long it will not report any more. Less than from one pass to the next. */
const LOST_MS = 55_000;

export class ContainerKeeper {
  readonly #context: DriverContext;
  readonly #endpoints: Endpoints;
  readonly #engineNetworks: EngineNetworks;
  readonly #failures: FailureSeries;
  /** Containers and networks that are being read; true: another time. */
  readonly #reading = new Map<string, boolean>();
  /** Addresses that nothing used in the last full pass: since when, monotonic milliseconds. */
  #unused: ReadonlyMap<string, number> = new Map();
  /** Endpoints that had left, or had not joined yet, in the last full pass: since when. The engine may not list them. */
  #unjoined: ReadonlyMap<string, number> = new Map();
  #unjoinedNow = new Map<string, number>();

  constructor(context: DriverContext, endpoints: Endpoints, engineNetworks: EngineNetworks) {
    this.#context = context;
    this.#endpoints = endpoints;
    this.#engineNetworks = engineNetworks;
    this.#failures = engineFailures(
      context,
      "containers of the Docker Engine cannot be compared; retried",
      "containers of the Docker Engine are compared",
    );
  }

  /** Compares everything. Failures are logged: the next pass retries. */
  async pass(): Promise<void> {
    try {
      this.#publishOwn();
      this.#unjoinedNow = new Map();
      const engine = await this.#engineNetworks.list();
      if (this.#context.state.areEndpointsLost) await this.#findAgain(engine);
      for (const dockerId of this.#context.state.networks.keys()) await this.#compare(dockerId);
      this.#unjoined = this.#unjoinedNow;
      await this.#dropForgotten(engine);
      // Until then an address without an endpoint may be a running container's.
      if (!this.#context.state.areEndpointsLost) await this.#releaseUnused(engine);
      this.#failures.succeeded();
    } catch (error) {
      this.#failures.failed(error);
    }
  }

  /**
   * Reads one container's names again; a container that is gone is a success. The engine answers only when the container
   * has started: of the events until then one more reading follows.
   */
  async refresh(container: string): Promise<void> {
    await this.#read(container, async () => {
      const inspected = await this.inspect(container);
      if (inspected !== null) await this.#describe(inspected);
    });
  }

  /** Reads which containers the new endpoints of a network belong to: the engine tells that before they start. */
  async learn(dockerId: string): Promise<void> {
    const { state } = this.#context;
    await this.#read(dockerId, async () => {
      const isOneUnknown = state.endpointsOf(dockerId).some(({ container }) => container === null);
      const engine = isOneUnknown ? await this.#engineNetworks.read(dockerId) : null;
      if (engine !== null) await this.#endpoints.learn(engine);
    });
  }

  /** One reading of an object at a time; those that are asked for meanwhile become one more. */
  async #read(id: string, read: () => Promise<void>): Promise<void> {
    if (this.#reading.has(id)) {
      this.#reading.set(id, true);
      return;
    }
    try {
      do {
        this.#reading.set(id, false);
        await read();
      } while (this.#reading.get(id));
    } catch (error) {
      this.#failures.failed(error);
    } finally {
      this.#reading.delete(id);
    }
  }

  /** What other hosts know of this one is what is on its disk. */
  #publishOwn(): void {
    const { state, feed, host } = this.#context;
    for (const record of state.endpoints.values())
      if (record.isJoined) feed.setMember(record.network, memberOf(record));
    if (state.areEndpointsLost) return;
    for (const [network, hosts] of feed.view.members)
      for (const { endpoint, engine } of hosts.get(host)?.members ?? [])
        if (engine === "docker" && !state.endpoints.has(endpoint)) feed.removeMember(network, endpoint);
  }

  /** Endpoints of running containers, after the loss of their file; done once all networks of ours are known. */
  async #findAgain(engine: readonly EngineNetwork[]): Promise<void> {
    const { state } = this.#context;
    const ours = engine.filter(({ driver }) => driver === DRIVER);
    for (const { dockerId } of ours) {
      const network = state.networks.get(dockerId)?.network ?? null;
      const found = network === null ? null : await this.#engineNetworks.read(dockerId);
      for (const endpoint of found?.endpoints ?? [])
        if (network !== null) await this.#endpoints.adopt({ dockerId, network }, endpoint);
    }
    state.areEndpointsLost = !ours.every(({ dockerId }) => state.networks.has(dockerId));
  }

  async #compare(dockerId: string): Promise<void> {
    const all = this.#context.state.endpointsOf(dockerId);
    const before = all.filter(({ isJoined, endpoint }) => isJoined || this.#isLost(this.#unjoined, endpoint));
    for (const { isJoined, endpoint } of all)
      if (!isJoined) this.#unjoinedNow.set(endpoint, this.#unjoined.get(endpoint) ?? this.#nowMs);
    if (before.length === 0) return;
    const engine = await this.#engineNetworks.read(dockerId);
    if (engine === null) return;
    await this.#endpoints.dropMissing(before, engine.endpoints);
    await this.#endpoints.learn(engine);
    const containers = new Set(engine.endpoints.map(({ container }) => container));
    for (const container of containers) if (container !== null) await this.refresh(container);
  }

  /** Endpoints of networks that the engine lost while we did not run: it tells nothing of their containers. */
  async #dropForgotten(engine: readonly EngineNetwork[]): Promise<void> {
    const { endpoints, networks } = this.#context.state;
    const present = new Set(engine.map(({ dockerId }) => dockerId));
    const forgotten = [...endpoints.values()].filter(
      ({ dockerId }) => !networks.has(dockerId) && !present.has(dockerId),
    );
    await this.#endpoints.dropMissing(forgotten, []);
  }

  async #describe({ id, name, networks }: EngineContainer): Promise<void> {
    const { state } = this.#context;
    for (const { endpoint, aliases } of networks) {
      const record = state.endpoints.get(endpoint);
      if (record !== undefined) await this.#endpoints.describe(record, id, namesOf(name, aliases, id));
    }
  }

  /** Null for a container that is gone. Rejects with EngineError. */
  async inspect(container: string): Promise<EngineContainer | null> {
    const path = `/containers/${encodeURIComponent(container)}/json`;
    try {
      return decodeContainer(await this.#context.engine.call({ method: "GET", path }, TIMEOUT_MS));
    } catch (error) {
      if (error instanceof EngineError && error.status === 404) return null;
      throw error;
    }
  }

  /** An address that no container has in two passes, a minute apart, was given to a start that failed. */
  async #releaseUnused(engine: readonly EngineNetwork[]): Promise<void> {
    const unused = new Map<string, number>();
    for (const network of this.#context.feed.view.networks.values()) {
      const used = isAddressesOnly(network)
        ? await lanAddresses(network, engine, (dockerId) => this.#engineNetworks.read(dockerId))
        : new Set<string>();
      for (const address of this.#endpoints.unusedAddresses(network.id)) {
        const key = `${network.id}/${address}`;
        if (used.has(`${address}`)) continue;
        if (this.#isLost(this.#unused, key)) this.#release(network.id, address);
        else unused.set(key, this.#unused.get(key) ?? this.#nowMs);
      }
    }
    this.#unused = unused;
  }

  get #nowMs(): number {
    return this.#context.clock.monotonicMs();
  }

  /** Whether it was noted long ago: passes follow each other at once where the engine's events are followed again. */
  #isLost(noted: ReadonlyMap<string, number>, key: string): boolean {
    return this.#nowMs - (noted.get(key) ?? this.#nowMs) >= LOST_MS;
  }

  #release(network: NetworkId, address: Address): void {
    this.#endpoints.releaseAddress(network, address);
    this.#context.logger.info("address without a container released", { network, address: `${address}` });
  }
}
