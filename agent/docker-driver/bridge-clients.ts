/**
 * Which container asks the name server: Docker's embedded DNS sends a container's queries from its address on
 * docker_gwbridge, or on a bridge network that it joined as well.
 *
 * Answers from memory. After an event, the engine is asked for the network that it may have changed; when a source is
 * unknown, for all. A query that comes before the engine has told of its container waits for that: Docker's embedded DNS
 * takes the first NXDOMAIN for an answer.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import { Backoff, pause, Sleep } from "../../ipam/clock.ts";
import type { FailureSeries } from "../../ipam/log.ts";
import type { NameClient, NameClients } from "../names/clients.ts";
import type { DriverContext } from "./context.ts";
import { EngineError } from "./engine-client.ts";
import type { NetworkEvent } from "./engine-events.ts";
import { engineFailures } from "./engine-failures.ts";
import type { EngineNetworks } from "./engine-networks.ts";
import type { EndpointRecord } from "./records.ts";

/** The network that gives containers of overlay drivers the outside (libnetwork's default_gateway_linux.go). */
const GATEWAY_NETWORK = "docker_gwbridge";
/** A source may be no container of the engine: it is not asked for each of their queries. */
const LEAST_PAUSE_MS = 100;
/** While the engine does not answer. That it runs again wakes us (engine-events.ts); other failures end unseen. */
const RETRY_MS = { baseMs: 1_000, maxMs: 15_000 };
/** How long a query waits for the engine. */
const WAIT_MS = 1_000;
/** How long a source that no network of the engine lists is not looked for again, unless the engine tells of a change. */
const STRANGER_MS = 10_000;

export class BridgeClients implements NameClients {
  readonly #context: DriverContext;
  readonly #engineNetworks: EngineNetworks;
  readonly #idle: Sleep;
  readonly #backoff: Backoff;
  readonly #failures: FailureSeries;
  /** By network: full ids of its containers by their address. */
  #networks = new Map<string, ReadonlyMap<string, string>>();
  /** Networks that may have changed. */
  readonly #stale = new Set<string>();
  #areAllStale = true;
  #isReading = false;
  #isWoken = false;
  /** Sources that no network explained yet. */
  #unknown = new Set<string>();
  /** Sources that the networks of the engine did not explain: since when, monotonic milliseconds. */
  readonly #strangers = new Map<string, number>();
  /** When a query first met an endpoint of which the engine has not told all, monotonic milliseconds. */
  readonly #starting = new WeakMap<EndpointRecord, number>();

  constructor(context: DriverContext, engineNetworks: EngineNetworks, random: () => number) {
    this.#context = context;
    this.#engineNetworks = engineNetworks;
    this.#idle = new Sleep(context.clock);
    this.#backoff = new Backoff({ ...RETRY_MS, random });
    this.#failures = engineFailures(
      context,
      "addresses of containers on Docker's bridges cannot be read; retried",
      "addresses of containers on Docker's bridges are read",
    );
  }

  clientOf(source: Address): NameClient | null {
    const container = this.#containerAt(`${source}`);
    if (container === undefined) {
      if (!this.#isStranger(`${source}`)) {
        this.#unknown.add(`${source}`);
        this.refresh();
      }
      return null;
    }
    const endpoints = [...this.#context.state.endpoints.values()];
    const networks = endpoints
      .filter((endpoint) => endpoint.container === container && endpoint.isJoined)
      .map(({ network }) => network);
    return { networks };
  }

  async untilKnown(source: Address): Promise<boolean> {
    if (!this.#isComing(source)) return false;
    const read = (): true | null => (this.#isComing(source) ? null : true);
    await this.#context.changes.until(read, WAIT_MS, new AbortController().signal);
    return true;
  }

  /** Has the engine asked for all networks, soon. */
  refresh(): void {
    this.#areAllStale = true;
    this.#wake();
  }

  networkChanged({ action, network, driver }: NetworkEvent): void {
    this.#strangers.clear();
    const isOfContainer = action === "connect" || action === "disconnect";
    if (!isOfContainer || driver === null) this.refresh();
    // Containers of other drivers' networks reach the outside by the gateway's.
    else this.#refreshOne(driver === "bridge" ? network : GATEWAY_NETWORK);
  }

  containerChanged(): void {
    this.#strangers.clear();
    this.#refreshOne(GATEWAY_NETWORK);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isWoken = false;
      if (this.#isStale) await this.#read();
      const hasFailed = this.#failures.count > 0;
      if (!hasFailed) this.#backoff.reset();
      const pauseMs = hasFailed ? RETRY_MS.baseMs : LEAST_PAUSE_MS;
      await pause(this.#context.clock, pauseMs, signal);
      if (this.#isWoken) continue;
      const idleMs = this.#isStale ? this.#backoff.nextMs() : Number.POSITIVE_INFINITY;
      await this.#idle.for(idleMs, signal);
    }
  }

  get #isStale(): boolean {
    return this.#areAllStale || this.#stale.size > 0;
  }

  /** Whether the engine is about to tell which networks of ours the source is on. */
  #isComing(source: Address): boolean {
    const client = this.clientOf(source);
    if (client !== null && client.networks.length > 0) return false;
    const untold = this.#untold();
    if (client === null) return untold.length > 0;
    // An endpoint whose container is known is this client's only if the address was another container's until now.
    const isOutdated = this.#isStale || this.#isReading;
    return untold.some(({ container }) => container === null || isOutdated);
  }

  #isStranger(source: string): boolean {
    const sinceMs = this.#strangers.get(source);
    if (sinceMs === undefined || this.#untold().length > 0) return false;
    return this.#context.clock.monotonicMs() - sinceMs < STRANGER_MS;
  }

  /** What has just joined a network of ours, and the engine has not told yet of which container, or its other address. */
  #untold(): readonly EndpointRecord[] {
    const { state, clock } = this.#context;
    const nowMs = clock.monotonicMs();
    const listed = new Set([...this.#networks.values()].flatMap((containers) => [...containers.values()]));
    const untold = [...state.endpoints.values()].filter(
      ({ isJoined, container }) => isJoined && (container === null || !listed.has(container)),
    );
    for (const endpoint of untold) if (!this.#starting.has(endpoint)) this.#starting.set(endpoint, nowMs);
    // A container of an internal network never has another address.
    return untold.filter((endpoint) => nowMs - (this.#starting.get(endpoint) ?? nowMs) < WAIT_MS);
  }

  #refreshOne(network: string): void {
    this.#stale.add(network);
    this.#wake();
  }

  #wake(): void {
    this.#isWoken = true;
    this.#idle.wake();
  }

  #containerAt(address: string): string | undefined {
    for (const containers of this.#networks.values()) {
      const container = containers.get(address);
      if (container !== undefined) return container;
    }
    return undefined;
  }

  async #read(): Promise<void> {
    const stale = [...this.#stale];
    const isAll = this.#areAllStale;
    const unknown = this.#unknown;
    this.#stale.clear();
    this.#areAllStale = false;
    this.#unknown = new Set();
    this.#isReading = true;
    try {
      const present = isAll ? await this.#bridges() : [];
      const read = await Promise.all(
        [...new Set([...stale, ...present])].map(
          async (network) => [network, await this.#containersOf(network)] as const,
        ),
      );
      this.#networks = new Map([...(isAll ? [] : this.#networks), ...read]);
      this.#failures.succeeded();
      if (isAll) this.#noteStrangers(unknown);
    } catch (error) {
      this.#failures.failed(error);
      if (error instanceof EngineError && error.retryable) this.#areAllStale = true;
    } finally {
      this.#isReading = false;
      this.#context.changes.notify();
    }
  }

  /** Of sources that were unknown before the engine was asked. */
  #noteStrangers(sources: ReadonlySet<string>): void {
    const nowMs = this.#context.clock.monotonicMs();
    for (const [source, sinceMs] of this.#strangers)
      if (nowMs - sinceMs >= STRANGER_MS) this.#strangers.delete(source);
    for (const source of sources)
      if (this.#containerAt(source) === undefined) this.#strangers.set(source, nowMs);
  }

  /** The gateway's network by its name, as events that do not tell of it have it. */
  async #bridges(): Promise<readonly string[]> {
    const networks = await this.#engineNetworks.list();
    const bridges = networks.filter(({ driver, name }) => driver === "bridge" && name !== GATEWAY_NETWORK);
    return [GATEWAY_NETWORK, ...bridges.map(({ dockerId }) => dockerId)];
  }

  /** None for a network that is gone. */
  async #containersOf(network: string): Promise<ReadonlyMap<string, string>> {
    const { endpoints = [] } = (await this.#engineNetworks.read(network)) ?? {};
    const containers = new Map<string, string>();
    for (const { container, addresses } of endpoints)
      for (const address of Object.values(addresses))
        if (container !== null) containers.set(`${address}`, container);
    return containers;
  }
}
