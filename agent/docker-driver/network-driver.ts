/** The methods of Docker's network driver. */

import { entriesOf } from "../../ipam/addresses/ip.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { errorFields } from "../../ipam/log.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { DriverContext } from "./context.ts";
import { type DriverOptions, parseDriverOptions } from "./driver-options.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Fields } from "./fields.ts";
import type { NetworkId } from "./network-id.ts";
import type { PluginMethod } from "./plugin-server.ts";
import type { Pools } from "./pools.ts";
import type { DockerNetwork } from "./records.ts";
import { type NetworkCall, parseEndpointCall, parseNetworkCall, parseNewEndpointCall } from "./requests.ts";

/** How long the first container of a new network waits until the network is in the store. */
const PATIENCE_MS = 1_500;
/** How long an answer waits for a removal. */
const REMOVAL_MS = 1_000;

export interface NetworkDriverOptions {
  readonly context: DriverContext;
  readonly pools: Pools;
  readonly endpoints: Endpoints;
  /** Called when the engine deletes a network: a list that it has made before may still show it. */
  readonly deleting: (dockerId: string) => void;
  /** Called after a network was created or deleted: the rest happens after the answer. */
  readonly wake: () => void;
}

export class NetworkDriver {
  readonly #options: NetworkDriverOptions;
  readonly #context: DriverContext;
  readonly #endpoints: Endpoints;

  constructor(options: NetworkDriverOptions) {
    this.#options = options;
    this.#context = options.context;
    this.#endpoints = options.endpoints;
  }

  get methods(): Readonly<Record<string, PluginMethod>> {
    return {
      "NetworkDriver.GetCapabilities": () => ({ Scope: "local", ConnectivityScope: "global" }),
      "NetworkDriver.CreateNetwork": (request) => this.#createNetwork(request),
      "NetworkDriver.DeleteNetwork": (request) => this.#deleteNetwork(request.id("NetworkID")),
      "NetworkDriver.CreateEndpoint": (request, signal) => this.#createEndpoint(request, signal),
      "NetworkDriver.EndpointOperInfo": (request) => this.#describeEndpoint(request),
      "NetworkDriver.DeleteEndpoint": (request) =>
        this.#soon(this.#endpoints.remove(parseEndpointCall(request))),
      "NetworkDriver.Join": (request, signal) => this.#join(request, signal),
      "NetworkDriver.Leave": (request) => this.#soon(this.#endpoints.leave(parseEndpointCall(request))),
      // Of swarm's gossip, which a driver with an own store does not need.
      "NetworkDriver.DiscoverNew": () => ({}),
      "NetworkDriver.DiscoverDelete": () => ({}),
    };
  }

  async #createNetwork(request: Fields): Promise<JsonObject> {
    const call = parseNetworkCall(request);
    const { state, changes } = this.#context;
    if (state.networks.has(call.dockerId)) return {};
    const options = parseDriverOptions(call.options);
    const network = this.#knownNetwork(options, call.pools);
    if (network === null) this.#requireFree(call, options);
    state.networks.set(call.dockerId, { ...call, network, database: null });
    this.#options.pools.claim(call.dockerId, Object.values(call.pools));
    try {
      await state.saveNetworks();
    } catch (error) {
      // dockerd has an error and no network: the next attempt has another id.
      state.networks.delete(call.dockerId);
      this.#options.pools.unclaim(call.dockerId);
      throw error;
    }
    changes.notify();
    this.#options.wake();
    return {};
  }

  /** The network that tulled makes here; null for one that a user creates. */
  #knownNetwork(options: DriverOptions, pools: DockerNetwork["pools"]): NetworkId | null {
    const { feed, state } = this.#context;
    const shared = entriesOf(pools)
      .filter(([, { isOurs }]) => isOurs)
      .map(([, { subnet }]) => this.#options.pools.networkWith(subnet))
      .find((network) => network !== null);
    const id = options.network ?? shared?.id ?? null;
    if (id === null) return null;
    if (options.network !== null && Object.values(pools).some(({ isOurs }) => !isOurs))
      throw new ConfigError(
        "-o tulle.network needs --ipam-driver tulle, or addresses would be given twice: leave both out, or give both",
      );
    const network = feed.view.networks.get(id);
    if (network === undefined)
      throw new ConfigError(`-o tulle.network=${id}: the store has no such network: leave it out`);
    const here = [...state.networks.values()].find((docker) => docker.network === id);
    if (here !== undefined)
      throw new ConflictError(
        `subnet ${Object.values(network.pools)[0]?.subnet} belongs to network ${network.name}, which this host has: use it, or give another --subnet`,
      );
    return options.network;
  }

  /** What can be refused before the store is asked is refused in the answer, which the user sees. */
  #requireFree({ pools }: NetworkCall, { vni }: DriverOptions): void {
    const { state, feed } = this.#context;
    for (const { subnet, lan, dockerId } of state.pools.values())
      if (lan !== null && dockerId === null && pools[subnet.family]?.subnet.equals(subnet))
        throw new ConflictError(
          `--subnet ${subnet} meets the range of a link of this host: give another subnet, or none for a free one`,
        );
    if (vni === null) return;
    for (const { vni: used, name } of feed.view.networks.values())
      if (used === vni)
        throw new ConflictError(`-o vni=${vni} belongs to network ${name}: give another number, or none`);
  }

  async #deleteNetwork(dockerId: string): Promise<JsonObject> {
    const { state, changes, logger } = this.#context;
    this.#options.deleting(dockerId);
    const docker = state.networks.get(dockerId);
    if (docker === undefined) return {};
    const leaving = state.endpointsOf(dockerId).map((endpoint) => this.#endpoints.discard(endpoint));
    // What cannot be removed is compared with the engine later; the network is gone in any case.
    for (const { reason } of (await Promise.allSettled(leaving)).filter(isRejected))
      logger.warn("endpoint of a removed network stays for now", errorFields(reason));
    state.networks.delete(dockerId);
    if (docker.network !== null && !state.ownRemovals.has(dockerId)) state.removals.add(docker.network);
    for (const [poolId, pool] of state.pools) if (pool.dockerId === dockerId) state.pools.delete(poolId);
    await state.saveNetworks();
    changes.notify();
    this.#options.wake();
    return {};
  }

  async #createEndpoint(request: Fields, signal: AbortSignal): Promise<JsonObject> {
    const call = parseNewEndpointCall(request);
    const { docker, network } = await this.#networkOf(call.dockerId, signal);
    const { mac } = await this.#endpoints.create(call, docker, network, signal);
    if (signal.aborted) {
      // dockerd has had an error, after which it deletes no endpoint.
      await this.#endpoints.remove(call);
      signal.throwIfAborted();
    }
    return { Interface: call.mac === null ? { MacAddress: mac } : {} };
  }

  /**
   * The answer to a removal, which goes on after it: the kernel deletes pairs one after another, and under load each
   * takes a good part of a second. Its record stays until the pair is gone.
   */
  async #soon(removal: Promise<void>): Promise<JsonObject> {
    const { clock, logger } = this.#context;
    const enough = new AbortController();
    const finished = removal.finally(() => enough.abort());
    const isFinished = await Promise.race([
      finished.then(() => true),
      clock.sleep(REMOVAL_MS, enough.signal).then(
        () => false,
        () => finished.then(() => true),
      ),
    ]);
    if (!isFinished)
      finished.catch((error: unknown) => {
        logger.warn("endpoint could not be removed; the next comparison with the engine tries again", {
          ...errorFields(error),
        });
      });
    return {};
  }

  #describeEndpoint(request: Fields): JsonObject {
    const { mac } = this.#endpoints.require(parseEndpointCall(request));
    return { Value: { "com.docker.network.endpoint.macaddress": mac } };
  }

  async #join(request: Fields, signal: AbortSignal): Promise<JsonObject> {
    const call = parseEndpointCall(request);
    this.#endpoints.require(call);
    const { network } = await this.#networkOf(call.dockerId, signal);
    // The engine already knows the name; its answer takes about 10 ms, for which the container need not wait.
    const learning = this.#endpoints.askEngine(call.dockerId);
    const SrcName = await this.#endpoints.join(call, network, signal);
    learning
      .then((engine) => (engine === null ? undefined : this.#endpoints.learn(engine)))
      .catch((error: unknown) => this.#context.logger.warn("name of a container not learned", { error }));
    // Without a gateway the engine adds an interface on docker_gwbridge, for the outside and for published ports.
    return { InterfaceName: { SrcName, DstPrefix: "eth" } };
  }

  /** The named network behind an id of the engine. Waits for one that was created a moment ago. */
  async #networkOf(
    dockerId: string,
    signal: AbortSignal,
  ): Promise<{ readonly docker: DockerNetwork; readonly network: NamedNetwork }> {
    const { state, feed, changes } = this.#context;
    const read = () => {
      const docker = state.networks.get(dockerId);
      if (docker === undefined)
        throw new ConfigError(
          `network ${dockerId} is unknown here: it was removed or replaced, so run the command again`,
        );
      const network = docker.network === null ? undefined : feed.view.networks.get(docker.network);
      return network === undefined ? null : { docker, network };
    };
    const found = await changes.until(read, PATIENCE_MS, signal);
    if (found !== null) return found;
    throw new ConflictError(
      `network ${dockerId} is not in the store yet: run the command again in a moment`,
      {
        retryable: true,
      },
    );
  }
}

function isRejected(result: PromiseSettledResult<unknown>): result is PromiseRejectedResult {
  return result.status === "rejected";
}
