/** Creating and removing networks in the engine. Never called while we answer a request of it: it may wait for us. */

import { isJsonObject } from "../../ipam/json.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { DriverState } from "./driver-state.ts";
import { type EngineClient, EngineError } from "./engine-client.ts";
import { decodeNetwork, decodeNetworks, type EngineNetwork } from "./engine-model.ts";
import { creationOf } from "./network-request.ts";

/** dockerd waits for our answers within it, and for its firewall. */
const CHANGE_TIMEOUT_MS = 30_000;
const READ_TIMEOUT_MS = 5_000;

export class EngineNetworks {
  readonly #engine: EngineClient;
  readonly #state: Pick<DriverState, "ownRemovals" | "saveNetworks">;

  constructor(engine: EngineClient, state: Pick<DriverState, "ownRemovals" | "saveNetworks">) {
    this.#engine = engine;
    this.#state = state;
  }

  async list(): Promise<readonly EngineNetwork[]> {
    return decodeNetworks(await this.#engine.call({ method: "GET", path: "/networks" }, READ_TIMEOUT_MS));
  }

  /**
   * Ids of networks that the engine was asked to remove, as far as it remembers: not before its start, and not before the
   * last few hundred events. `nowSeconds` is the date.
   */
  async removed(nowSeconds: number): Promise<ReadonlySet<string>> {
    const removed = new Set<string>();
    const window = { untilSeconds: Math.floor(nowSeconds) };
    for await (const event of this.#engine.events(
      ["network"],
      AbortSignal.timeout(READ_TIMEOUT_MS),
      window,
    )) {
      const id = isJsonObject(event.Actor) ? event.Actor.ID : undefined;
      if (event.Action === "destroy" && typeof id === "string") removed.add(id);
    }
    return removed;
  }

  /** With its containers; null when it is gone. */
  async read(dockerId: string): Promise<EngineNetwork | null> {
    const call = { method: "GET", path: `/networks/${encodeURIComponent(dockerId)}` } as const;
    return await this.#engine.call(call, READ_TIMEOUT_MS).then(decodeNetwork, absentAs(null));
  }

  /** A network that exists by this name is a success: the next pass looks at it. */
  async create(network: NamedNetwork): Promise<void> {
    const call = { method: "POST", path: "/networks/create", body: creationOf(network) } as const;
    try {
      await this.#engine.call(call, CHANGE_TIMEOUT_MS);
    } catch (error) {
      if (!(error instanceof EngineError) || error.status !== 409) throw error;
    }
  }

  /** Absent is a success. Rejects while containers are on it. */
  async delete(dockerId: string): Promise<void> {
    const { ownRemovals } = this.#state;
    ownRemovals.add(dockerId);
    try {
      await this.#state.saveNetworks();
      const call = { method: "DELETE", path: `/networks/${encodeURIComponent(dockerId)}` } as const;
      await this.#engine.call(call, CHANGE_TIMEOUT_MS).catch(absentAs(null));
    } finally {
      ownRemovals.delete(dockerId);
      await this.#state.saveNetworks();
    }
  }
}

function absentAs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof EngineError && error.status === 404) return value;
    throw error;
  };
}
