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
  };
}
