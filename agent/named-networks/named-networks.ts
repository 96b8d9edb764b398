/**
 * This host's part in the named networks of a store prefix: catalogue, addresses, members, and what they must know of the
 * host. Container engines build on it; it knows none of them.
 */

import type { Address, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { StoreAddressBook } from "../../ipam/named-networks/address-book.ts";
import { StoreCatalogue } from "../../ipam/named-networks/catalogue.ts";
import { StoreFeed } from "../../ipam/named-networks/feed.ts";
import { isHostGone } from "../../ipam/named-networks/gone-hosts.ts";
import type { HostId, HostRecord, NetworkId } from "../../ipam/named-networks/named-network.ts";
import { recordRestoration } from "../../ipam/named-networks/restorations.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { Runtime } from "../network/runtime.ts";
import { foreignVnis, linkPrefixes, reservedRanges } from "./host-surroundings.ts";

export interface NamedNetworksOptions {
  readonly runtime: Pick<Runtime, "clock" | "random" | "logger" | "port" | "netlink">;
  readonly store: NetworkStore;
  readonly host: HostId;
  /** For people. */
  readonly hostName: string;
  readonly version: string;
  readonly stateDir: string;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly dateMs: () => number;
  /** False when this host's lease may have expired. */
  readonly isLeaseHeld: () => boolean;
}

export class NamedNetworks {
  readonly feed: StoreFeed;
  readonly catalogue: StoreCatalogue;
  readonly book: StoreAddressBook;
  readonly #options: NamedNetworksOptions;

  /** Reads what the last run left. Throws what the file system throws. */
  constructor(options: NamedNetworksOptions) {
    this.#options = options;
    const { runtime, store, host, hostName, stateDir } = options;
    const { records } = store;
    const common = { ...options, ...runtime, records };
    this.feed = new StoreFeed({ ...common, host: this.#hostRecord({}) });
    this.catalogue = new StoreCatalogue({
      ...common,
      reserved: (signal) => reservedRanges(store.config, runtime.netlink, signal),
      foreignVnis: () => foreignVnis(runtime.port.links()),
    });
    this.book = new StoreAddressBook({
      ...common,
      stateDir,
      self: { host, name: hostName },
      isGone: (other, signal) => isHostGone(store, other, signal),
    });
  }

  /** Prefixes on this host's own links. */
  localPrefixes(): readonly Prefix[] {
    return linkPrefixes(this.#options.runtime.netlink);
  }

  /** Notes for all hosts that the network was removed here and put back. Rejects with StoreError and ConflictError. */
  async recordRestoration(network: NetworkId, usedBy: string, signal: AbortSignal): Promise<void> {
    const { store, host, hostName, dateMs } = this.#options;
    const atSeconds = Math.floor(dateMs() / 1000);
    await recordRestoration(store.records, { network, host, hostName, usedBy, atSeconds }, signal);
  }

  /** Where other hosts send this host's packets, or another prefix on its links. */
  setHost(publicAddresses: PerFamily<Address>): void {
    this.feed.setHost(this.#hostRecord(publicAddresses));
  }

  /** Follows the store until `signal` fires. Call setHost before: other hosts act on the record at once. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.feed.run(signal), this.book.run(signal)]);
  }

  #hostRecord(publicAddresses: PerFamily<Address>): HostRecord {
    const { host, hostName, version } = this.#options;
    return { host, name: hostName, publicAddresses, localPrefixes: this.localPrefixes(), version };
  }
}
