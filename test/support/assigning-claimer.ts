/**
 * A claimer for a store that assigns subnets itself, as Kubernetes assigns a podCIDR to a node: it allocates nothing and
 * renews nothing. The assignments are records of a store in memory, and the controller is the test.
 */

import { LeaseLostError, NoFreeSubnetError } from "../../ipam/errors.ts";
import type {
  ClaimRequest,
  LeaseClaimer,
  LostLease,
  Membership,
  Recovery,
} from "../../ipam/leases/claimer.ts";
import { formatLeaseValue, parseLeaseKey } from "../../ipam/leases/lease-codec.ts";
import type { NetworkStore, StoreEntry, StoreListing } from "../../ipam/stores/contracts.ts";

const FOREVER = Number.POSITIVE_INFINITY;

/** The part of the store's controller: gives the subnet of `key` to a host. The feed shows it once that is published. */
export async function assign(
  { records }: NetworkStore,
  host: string,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  await records.write(`assigned/${host}`, key, await records.read(`assigned/${host}`, signal), signal);
}

export class AssigningClaimer implements LeaseClaimer {
  readonly #store: NetworkStore;
  readonly #host: string;

  constructor(store: NetworkStore, host: string) {
    this.#store = store;
    this.#host = host;
  }

  async acquire({ attrs }: ClaimRequest, _listing: StoreListing, signal: AbortSignal): Promise<Membership> {
    const entry = await this.#publishAssigned(formatLeaseValue(attrs), signal);
    if (entry === null) throw this.#unassigned();
    const subnets = parseLeaseKey(entry.key);
    return { entry, subnets, deadlineMs: FOREVER, origin: "assigned", givenUp: [] };
  }

  async examine(_request: ClaimRequest, _listing: StoreListing, signal: AbortSignal): Promise<void> {
    if ((await this.#store.records.read(`assigned/${this.#host}`, signal)) === null) throw this.#unassigned();
  }

  async publish(entry: StoreEntry, value: string, signal: AbortSignal): Promise<StoreEntry> {
    return await this.#store.leases.replace(entry, value, null, signal);
  }

  async keep(entry: StoreEntry, signal: AbortSignal): Promise<number> {
    if ((await this.#published(entry.key, signal)) !== undefined) return FOREVER;
    throw new LeaseLostError(`${entry.key} is no longer published for ${this.#host}`);
  }

  async recover({ value }: LostLease, signal: AbortSignal): Promise<Recovery> {
    const entry = await this.#publishAssigned(value, signal);
    if (entry === null) return { outcome: "vanished" };
    return { outcome: "held", entry, subnets: parseLeaseKey(entry.key), deadlineMs: FOREVER };
  }

  async release(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    await this.#store.leases.remove(entry, signal);
  }

  #unassigned(): NoFreeSubnetError {
    return new NoFreeSubnetError(`no subnet is assigned to ${this.#host} yet`, { retryable: true });
  }

  /** Null while no subnet is assigned. */
  async #publishAssigned(value: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const assigned = await this.#store.records.read(`assigned/${this.#host}`, signal);
    if (assigned === null) return null;
    const entry = await this.#published(assigned.value, signal);
    return entry === undefined
      ? await this.#store.leases.create(assigned.value, value, FOREVER, signal)
      : await this.publish(entry, value, signal);
  }

  async #published(key: string, signal: AbortSignal): Promise<StoreEntry | undefined> {
    return (await this.#store.feed.list(signal)).entries.find((entry) => entry.key === key);
  }
}
