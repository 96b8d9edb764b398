/** Who asks the name server: what a container engine tells about the source of a query. */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";

/** A container of this host. */
export interface NameClient {
  /** The named networks that it is on now. */
  readonly networks: readonly NetworkId[];
}

export interface NameClients {
  /**
   * The container whose queries come from `source`, one of its addresses on a bridge of this host: for Docker that on
   * docker_gwbridge. Null for an address of no known container, which gets no names. Called for each query, so it
   * answers from memory; it must not throw.
   */
  clientOf(source: Address): NameClient | null;
  /**
   * Resolves when the engine has told what it is about to tell of `source`, whose container may have just started, or
   * after a second; false at once when there is nothing to wait for. Absent for an engine that tells before the start.
   */
  untilKnown?(source: Address): Promise<boolean>;
}

/** The clients of several engines: the first that knows a source answers. */
export function joinedClients(engines: readonly NameClients[]): NameClients {
  return {
    clientOf: (source) => {
      for (const engine of engines) {
        const client = engine.clientOf(source);
        if (client !== null) return client;
      }
      return null;
    },
    untilKnown: async (source) => {
      const owner = engines.find((engine) => engine.clientOf(source) !== null);
      const asked = owner === undefined ? engines : [owner];
      const waited = await Promise.all(asked.map(async (engine) => await engine.untilKnown?.(source)));
      return waited.includes(true);
    },
  };
}
