/** The pools that the engine holds, and which named network or draft each belongs to. */

import { type Address, entriesOf, type Family, type Prefix } from "../../ipam/addresses/ip.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { errorFields } from "../../ipam/log.ts";
import type { NamedNetwork, Pool } from "../../ipam/named-networks/named-network.ts";
import { hostAddressProblem } from "../../ipam/named-networks/network-rules.ts";
import type { DriverContext } from "./context.ts";
import { LAN_KEY, NETWORK_KEY, parseNetworkKey } from "./driver-options.ts";
import type { NetworkId } from "./network-id.ts";
import { formatPoolId, type PoolId, parsePoolId } from "./pool-id.ts";
import { draftOf, isUnclaimed, type PoolRecord } from "./records.ts";
import type { NetworkPool, PoolCall } from "./requests.ts";

/** How long a request waits for the network that a pool becomes part of. */
const PATIENCE_MS = 1_500;
/** A command that began before its network was removed or replaced may ask for an address this much later. */
const RELEASED_MS = 60_000;
/** Of giving a draft back whose call has ended, and its signal with it. */
const GIVE_BACK_MS = 5_000;

export interface NetworkFamily {
  readonly network: NamedNetwork;
  readonly family: Family;
  readonly pool: Pool;
}

/** What a PoolID means: a pool of a network, or one whose network the view does not show yet. */
export type ResolvedPool = NetworkFamily | { readonly pending: PoolRecord };

export class Pools {
  readonly #context: DriverContext;
  /** Whose networks the view has shown, or showed to a former run: one of them that it does not show is gone. */
  readonly #shown: WeakSet<PoolRecord>;
  /** Drafts of networks of other drivers that the engine has created: it notes no more addresses. */
  readonly #created = new WeakSet<PoolRecord>();
  /** PoolIDs that the engine has released: when, monotonic milliseconds. */
  readonly #released = new Map<string, number>();

  constructor(context: DriverContext) {
    this.#context = context;
    this.#shown = new WeakSet([...context.state.pools.values()].filter(({ network }) => network !== null));
  }

  /** The pool for RequestPool. Throws ConfigError, ConflictError or StoreError. */
  async request(call: PoolCall, signal: AbortSignal): Promise<{ poolId: string; subnet: Prefix }> {
    const { [NETWORK_KEY]: key, [LAN_KEY]: lan, ...unknown } = call.options;
    const [stranger] = Object.keys(unknown);
    if (stranger !== undefined)
      throw new ConfigError(
        `--ipam-opt ${escapeText(stranger, 40)} is not an option of the IPAM driver tulle: it has ${LAN_KEY}`,
      );
    const existing = key === undefined ? this.#sharing(call) : this.#named(key, call);
    if (existing !== null) return existing;
    return await this.#draft(call, lan ?? null, signal);
  }

  /** Throws ConfigError when the PoolID is not ours, or its network is gone; ConflictError when that was just now. */
  resolve(poolId: string): ResolvedPool {
    const { state, feed } = this.#context;
    const record = state.pools.get(poolId);
    if (record !== undefined && record.network === null) return { pending: record };
    const { id, family } = parsePoolId(poolId);
    const network = feed.view.networks.get(record?.network ?? id) ?? this.#networkOfDraft({ id, family });
    const pool = network?.pools[family];
    if (network !== undefined && pool !== undefined) {
      if (record !== undefined) this.#shown.add(record);
      return { network, family, pool };
    }
    // Published a moment ago: the view follows.
    if (record !== undefined) return { pending: record };
    if (this.#released.has(poolId))
      throw new ConflictError(
        "the network was removed, or replaced by that of its name which another host created first: run the command again",
        { retryable: true },
      );
    throw goneFromStore(poolId);
  }

  /**
   * As resolve, once the view shows the network. Throws ConfigError when it is gone from the store, and ConflictError when
   * the wait takes too long.
   */
  async resolveNetwork(poolId: string, signal: AbortSignal): Promise<NetworkFamily> {
    const read = (): NetworkFamily | null => {
      const resolved = this.resolve(poolId);
      return "pending" in resolved ? null : resolved;
    };
    const found = await this.#context.changes.until(read, PATIENCE_MS, signal);
    if (found !== null) return found;
    const { state, feed } = this.#context;
    const record = state.pools.get(poolId);
    if (record !== undefined && this.#shown.has(record) && feed.storeProblem === null)
      throw goneFromStore(poolId);
    throw new ConflictError("the network is not in the store yet: try again when tulled reaches its store", {
      retryable: true,
    });
  }

  /** The named network of a pool, which may be gone from the store; null for a draft. Throws ConfigError as resolve. */
  networkOf(poolId: string): NetworkId | null {
    const record = this.#context.state.pools.get(poolId);
    if (record !== undefined) return record.network;
    const parsed = parsePoolId(poolId);
    return this.#networkOfDraft(parsed)?.id ?? parsed.id;
  }

  /** Notes the engine's requests at creation: the gateway, and addresses that containers must not get. */
  async note(draft: PoolRecord, address: Address | null, isGateway: boolean): Promise<Address> {
    const { state } = this.#context;
    if (address === null) return draft.subnet.base.plus(1);
    const problem = hostAddressProblem(draft.subnet, address);
    if (problem !== null) throw new ConfigError(`${problem}: give another address of the subnet`);
    const noted = isGateway ? { gateway: address } : { excluded: [...draft.excluded, address] };
    state.pools.set(draft.poolId, { ...draft, ...noted });
    await state.saveNetworks();
    return address;
  }

  /** The engine lists the network of another driver that these drafts are of. */
  noteCreated(drafts: readonly PoolRecord[]): void {
    for (const draft of drafts) this.#created.add(draft);
  }

  /** Whether the engine may still be creating the network of the draft: then it requests addresses to be noted. */
  isBeingCreated(draft: PoolRecord): boolean {
    return !this.#created.has(draft);
  }

  /** Forgets the pool; a draft is given back, also where the disk is full. */
  async release(poolId: string, signal: AbortSignal): Promise<void> {
    const { state, catalogue } = this.#context;
    const record = state.pools.get(poolId);
    if (record === undefined) return;
    state.pools.delete(poolId);
    this.#noteReleased(poolId);
    await Promise.all([
      state.saveNetworks(),
      isUnclaimed(record) ? catalogue.abandon(draftOf(record), signal) : undefined,
    ]);
  }

  /** Forgets a draft that the engine does not have. Never rejects: where the store does not answer, it lapses there. */
  async giveBack(poolId: string): Promise<void> {
    try {
      await this.release(poolId, AbortSignal.timeout(GIVE_BACK_MS));
    } catch (error) {
      this.#context.logger.debug("draft of a pool not given back; it lapses", errorFields(error));
    }
  }

  /**
   * Links the drafts with these subnets to the engine's network that is made of them. Of several drafts with one subnet
   * the last: earlier ones are of creations that failed.
   */
  claim(dockerId: string, pools: readonly NetworkPool[]): void {
    const { state } = this.#context;
    for (const { subnet } of pools) {
      const record = [...state.pools.values()].findLast(
        (pool) => isUnclaimed(pool) && pool.subnet.equals(subnet),
      );
      if (record !== undefined) state.pools.set(record.poolId, { ...record, dockerId });
    }
  }

  /** Undoes it for a network that the engine does not get. */
  unclaim(dockerId: string): void {
    const { pools } = this.#context.state;
    for (const [poolId, pool] of pools)
      if (pool.dockerId === dockerId) pools.set(poolId, { ...pool, dockerId: null });
  }

  /** The named network that has this subnet; null for none. */
  networkWith(subnet: Prefix): NamedNetwork | null {
    for (const network of this.#context.feed.view.networks.values())
      if (network.pools[subnet.family]?.subnet.equals(subnet)) return network;
    return null;
  }

  /** The network that a draft became the second family of: our record of the pool may be lost. */
  #networkOfDraft({ id, family }: PoolId): NamedNetwork | undefined {
    return [...this.#context.feed.view.networks.values()].find(({ pools }) => pools[family]?.draft === id);
  }

  #noteReleased(poolId: string): void {
    const nowMs = this.#context.clock.monotonicMs();
    for (const [each, sinceMs] of this.#released)
      if (nowMs - sinceMs >= RELEASED_MS) this.#released.delete(each);
    this.#released.set(poolId, nowMs);
  }

  #named(key: string, call: PoolCall): { poolId: string; subnet: Prefix } {
    const id = parseNetworkKey(key);
    const network = this.#context.feed.view.networks.get(id);
    if (network === undefined)
      throw new ConfigError(`--ipam-opt ${NETWORK_KEY}=${id}: the store has no such network: leave it out`);
    const pool = network.pools[call.family];
    if (pool === undefined || (call.subnet !== null && !call.subnet.equals(pool.subnet)))
      throw new ConfigError(
        `network ${network.name} has the subnets ${subnetsOf(network)}, not ${call.subnet ?? `one of IPv${call.family}`}`,
      );
    return { poolId: formatPoolId({ id, family: call.family }), subnet: pool.subnet };
  }

  /** A network that is given twice by its subnet: the same one, on another host or for another network driver. */
  #sharing({ subnet }: PoolCall): { poolId: string; subnet: Prefix } | null {
    const network = subnet === null ? null : this.networkWith(subnet);
    if (subnet === null || network === null) return null;
    return { poolId: formatPoolId({ id: network.id, family: subnet.family }), subnet };
  }

  async #draft(call: PoolCall, lan: string | null, signal: AbortSignal) {
    const { catalogue, host, state, localPrefixes } = this.#context;
    const { family, subnet, allocation } = call;
    const isLan =
      lan !== null || (subnet !== null && localPrefixes().some((local) => local.overlaps(subnet)));
    const request = { subnet, allocation, gateway: null, excluded: [], isLan };
    const draft = await catalogue.draft(family, request, host, signal);
    const poolId = formatPoolId(draft);
    state.pools.set(poolId, {
      ...{ poolId, family, subnet: draft.subnet, isSubnetGiven: subnet !== null, allocation },
      ...{ gateway: null, excluded: [], network: null, dockerId: null, lan: isLan ? (lan ?? "") : null },
    });
    try {
      await state.saveNetworks();
      signal.throwIfAborted();
    } catch (error) {
      // dockerd has had an error, and releases no pool that it does not know of.
      await this.giveBack(poolId);
      throw error;
    }
    return { poolId, subnet: draft.subnet };
  }
}

function subnetsOf({ pools }: NamedNetwork): string {
  return entriesOf(pools)
    .map(([, { subnet }]) => `${subnet}`)
    .join(" and ");
}

function goneFromStore(poolId: string): ConfigError {
  return new ConfigError(`the network of pool ${poolId} is not in the store: remove it and create it again`);
}
