/** What the parts of the driver share. */

import type { Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { Logger } from "../../ipam/log.ts";
import type {
  AddressBook,
  NamedNetworksFeed,
  NetworkCatalogue,
} from "../../ipam/named-networks/contracts.ts";
import type { HostId, NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import type { Changes } from "./changes.ts";
import { LAN_KEY } from "./driver-options.ts";
import type { DriverState } from "./driver-state.ts";
import type { EngineClient } from "./engine-client.ts";
import type { Notices } from "./notices.ts";
import type { EndpointRecord } from "./records.ts";

/** The pairs of interfaces that join containers to the bridge of a named network. */
export interface ContainerLinks {
  /**
   * Has the devices of a network made for its first member on this host. Resolves when they are there, or when that takes
   * more than a second; what is wrong with them is told by `add`.
   */
  prepare(network: NamedNetwork, signal: AbortSignal): Promise<void>;
  /** Creates the pair of an endpoint, or finds it. Returns the name of the end that the engine takes. */
  add(network: NamedNetwork, endpoint: EndpointRecord, signal: AbortSignal): Promise<string>;
  /** Removes what is left of the pair; absent is a success. */
  remove(endpoint: EndpointRecord): Promise<void>;
}

export interface DriverContext {
  readonly state: DriverState;
  readonly engine: EngineClient;
  readonly feed: NamedNetworksFeed;
  readonly catalogue: NetworkCatalogue;
  readonly book: AddressBook;
  readonly links: ContainerLinks;
  readonly host: HostId;
  /** Prefixes of the host's own interfaces. */
  readonly localPrefixes: () => readonly Prefix[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Fires after each change of the state or of the feed's view. */
  readonly changes: Changes;
  readonly notices: Notices;
}

/** Whether the network only gives addresses, to another network driver; hosts do not carry its packets. */
export function isAddressesOnly({ options }: Pick<NamedNetwork, "options">): boolean {
  return Object.hasOwn(options, LAN_KEY);
}
