/** The methods of Docker's IPAM driver. */

import { type Address, entriesOf } from "../../ipam/addresses/ip.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { type DriverContext, isAddressesOnly } from "./context.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Fields } from "./fields.ts";
import type { PluginMethod } from "./plugin-server.ts";
import type { NetworkFamily, Pools } from "./pools.ts";
import { isUnclaimed } from "./records.ts";
import { ADDRESS_SPACE, parseAddressCall, parsePoolCall } from "./requests.ts";

/** Within this time of RequestPool, requests for excluded addresses are the engine's own for `--aux-address`. */
const CREATION_MS = 2_000;

export class IpamDriver {
  readonly #context: DriverContext;
  readonly #pools: Pools;
  readonly #endpoints: Endpoints;
  /** When a pool of an existing network was requested last, monotonic milliseconds. */
  readonly #requestedMs = new Map<string, number>();

  constructor(context: DriverContext, pools: Pools, endpoints: Endpoints) {
    this.#context = context;
    this.#pools = pools;
    this.#endpoints = endpoints;
  }

  get methods(): Readonly<Record<string, PluginMethod>> {
    return {
      "IpamDriver.GetCapabilities": () => ({ RequiresMACAddress: false, RequiresRequestReplay: false }),
      "IpamDriver.GetDefaultAddressSpaces": () => ({
        LocalDefaultAddressSpace: ADDRESS_SPACE,
        GlobalDefaultAddressSpace: ADDRESS_SPACE,
      }),
      "IpamDriver.RequestPool": (request, signal) => this.#requestPool(request, signal),
      "IpamDriver.ReleasePool": (request, signal) => this.#releasePool(request.text("PoolID"), signal),
      "IpamDriver.RequestAddress": (request, signal) => this.#requestAddress(request, signal),
      "IpamDriver.ReleaseAddress": (request) => this.#releaseAddress(request),
    };
  }

  async #requestPool(request: Fields, signal: AbortSignal): Promise<JsonObject> {
    const { poolId, subnet } = await this.#pools.request(parsePoolCall(request), signal);
    this.#requestedMs.set(poolId, this.#context.clock.monotonicMs());
    return { PoolID: poolId, Pool: `${subnet}`, Data: {} };
  }

  async #releasePool(poolId: string, signal: AbortSignal): Promise<JsonObject> {
    this.#requestedMs.delete(poolId);
    await this.#pools.release(poolId, signal);
    return {};
  }

  async #requestAddress(request: Fields, signal: AbortSignal): Promise<JsonObject> {
    const { poolId, address, isGateway } = parseAddressCall(request);
    const resolved = this.#pools.resolve(poolId);
    const draft = "pending" in resolved && isUnclaimed(resolved.pending) ? resolved.pending : null;
    if (draft !== null && (isGateway || (address !== null && this.#pools.isBeingCreated(draft)))) {
      const noted = await this.#pools.note(draft, address, isGateway);
      return { Address: `${noted}/${draft.subnet.length}`, Data: {} };
    }
    const found = await this.#pools.resolveNetwork(poolId, signal);
    const given = isGateway ? gatewayOf(found, address) : await this.#give(found, poolId, address, signal);
    if (signal.aborted && !isGateway) {
      // dockerd has had an error, and gives back nothing that it does not know of.
      this.#endpoints.releaseAddress(found.network.id, given);
      signal.throwIfAborted();
    }
    return { Address: `${given}/${found.pool.subnet.length}`, Data: {} };
  }

  async #give(
    { network, family, pool }: NetworkFamily,
    poolId: string,
    wanted: Address | null,
    signal: AbortSignal,
  ): Promise<Address> {
    const isExcluded = wanted !== null && pool.excluded.some((address) => address.equals(wanted));
    if (isExcluded && isAddressesOnly(network) && this.#isBeingCreated(poolId)) return wanted;
    try {
      return await this.#endpoints.takeAddress(network, family, wanted, signal);
    } catch (error) {
      if (!(error instanceof ConflictError) || error.retryable || wanted === null) throw error;
      // The holder may be an endpoint of this host that ended while we did not run.
      await this.#endpoints.dropStale(network);
      return await this.#endpoints.takeAddress(network, family, wanted, signal);
    }
  }

  /** Also of a network that is gone from the store: an address that is not released is never given again. */
  #releaseAddress(request: Fields): JsonObject {
    const { poolId, address } = parseAddressCall(request);
    const network = this.#pools.networkOf(poolId);
    if (network !== null && address !== null) this.#endpoints.releaseAddress(network, address);
    return {};
  }

  #isBeingCreated(poolId: string): boolean {
    const sinceMs = this.#requestedMs.get(poolId);
    return sinceMs !== undefined && this.#context.clock.monotonicMs() - sinceMs < CREATION_MS;
  }
}

/** The engine asks for the gateway of each network, also of one that another host created. */
function gatewayOf({ network, pool }: NetworkFamily, wanted: Address | null): Address {
  if (wanted === null || wanted.equals(pool.gateway)) return pool.gateway;
  const subnets = entriesOf(network.pools).map(([, { subnet }]) => subnet);
  throw new ConfigError(
    `network ${network.name} (${subnets.join(", ")}) has the gateway ${pool.gateway}, not ${wanted}: give --gateway ${pool.gateway}`,
  );
}
