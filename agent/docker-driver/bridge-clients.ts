/**
 * Which container asks the name server: Docker's embedded DNS sends a container's queries from its address on
 * docker_gwbridge, or on a bridge network that it joined as well.
 *
 * Answers from memory. The engine is read after each event of a container, and when a source is unknown.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import { Sleep } from "../../ipam/clock.ts";
import type { FailureSeries } from "../../ipam/log.ts";
import type { NameClient, NameClients } from "../names/clients.ts";
import type { DriverContext } from "./context.ts";
import { EngineError } from "./engine-client.ts";
import { engineFailures } from "./engine-failures.ts";
import type { EngineNetworks } from "./engine-networks.ts";

/** The network that gives containers of overlay drivers the outside (libnetwork's default_gateway_linux.go). */
const GATEWAY_NETWORK = "docker_gwbridge";
/** A source may be no container of the engine: it is not asked for each of their queries. */
const LEAST_PAUSE_MS = 100;
/** While the engine does not answer. */
const RETRY_MS = 1_000;

export class BridgeClients implements NameClients {
  readonly #context: DriverContext;
  readonly #engineNetworks: EngineNetworks;
  readonly #idle: Sleep;
  readonly #failures: FailureSeries;
  /** Full ids of containers by their address. */
  #containers: ReadonlyMap<string, string> = new Map();
  #isStale = true;

  constructor(context: DriverContext, engineNetworks: EngineNetworks) {
    this.#context = context;
    this.#engineNetworks = engineNetworks;
    this.#idle = new Sleep(context.clock);
    this.#failures = engineFailures(
      context,
      "addresses of containers on Docker's bridges cannot be read; retried",
      "addresses of containers on Docker's bridges are read",
    );
  }

  clientOf(source: Address): NameClient | null {
    const container = this.#containers.get(`${source}`);
    if (container === undefined) {
      this.refresh();
      return null;
    }
    const endpoints = [...this.#context.state.endpoints.values()];
    const networks = endpoints
      .filter((endpoint) => endpoint.container === container && endpoint.isJoined)
      .map(({ network }) => network);
    return { networks };
  }

  /** Has the engine read again, soon. */
  refresh(): void {
    this.#isStale = true;
    this.#idle.wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#isStale) await this.#read();
      const pauseMs = this.#failures.count > 0 ? RETRY_MS : LEAST_PAUSE_MS;
      await this.#context.clock.sleep(pauseMs, signal).catch(() => undefined);
      if (!this.#isStale) await this.#idle.for(Number.POSITIVE_INFINITY, signal);
    }
  }

  async #read(): Promise<void> {
    this.#isStale = false;
    try {
      const networks = await this.#engineNetworks.list();
      const bridges = networks.filter(({ driver, name }) => driver === "bridge" || name === GATEWAY_NETWORK);
      const containers = new Map<string, string>();
      for (const { dockerId } of bridges) {
        const { endpoints = [] } = (await this.#engineNetworks.read(dockerId)) ?? {};
        for (const { container, addresses } of endpoints)
          for (const address of Object.values(addresses))
            if (container !== null) containers.set(`${address}`, container);
      }
      this.#containers = containers;
      this.#failures.succeeded();
    } catch (error) {
      this.#failures.failed(error);
      if (error instanceof EngineError && error.retryable) this.#isStale = true;
    }
  }
}
