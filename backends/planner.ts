/**
 * From leases to desired state: asks the backend for each lease once and caches the answer.
 *
 * The answer is a pure function of (prepared backend, lease), so a lease that is the same object as last time
 * contributes the same array as last time; so the later stages process only what a join changes. No I/O.
 */

import type { PerFamily, Prefix } from "../ipam/addresses/ip.ts";
import type { Lease, LeaseKey } from "../ipam/leases/lease.ts";
import type { PeerUpdate } from "../ipam/leases/peer-update.ts";
import type { PreparedBackend } from "./backend.ts";
import type { KernelObject } from "./state/kinds/registry.ts";
import type { Plan } from "./state/tracker.ts";

/**
 * From this many peers on routes refer to nexthop objects. Each route with a gateway of its own costs the kernel
 * a walk over all of them (fib_info), so the time grows with the square; below, a plain route is as quick and
 * reads as flannel's does in `ip route`.
 */
export const NEXTHOP_THRESHOLD = 256;

/** Group of the objects that do not belong to a peer. Lease keys never look like this. */
const BASE_GROUP = "base";

export interface PlannerInput {
  readonly own: PerFamily<Prefix>;
  readonly peers: PeerUpdate;
}

type PlannedBackend = Pick<PreparedBackend, "planBase" | "planPeer">;

export class Planner {
  readonly #extra: (own: PerFamily<Prefix>) => readonly KernelObject[];
  readonly #hasNexthopObjects: boolean;
  #backend: PlannedBackend;
  #useNexthops = false;
  #own: PerFamily<Prefix> | null = null;
  readonly #leases = new Map<LeaseKey, Lease>();
  /** What each lease was planned to. */
  readonly #planned = new Map<LeaseKey, readonly KernelObject[]>();

  /**
   * @param hasNexthopObjects whether the kernel has them (5.3 and later)
   * @param extra objects that the agent wants besides the backend's
   */
  constructor(
    backend: PlannedBackend,
    hasNexthopObjects: boolean,
    extra: (own: PerFamily<Prefix>) => readonly KernelObject[] = () => [],
  ) {
    this.#backend = backend;
    this.#hasNexthopObjects = hasNexthopObjects;
    this.#extra = extra;
  }

  /** Plans with another backend, or with other extra objects, from the next call on. The form of the routes stays. */
  replan(backend: PlannedBackend): void {
    this.#backend = backend;
    this.#own = null;
    this.#planned.clear();
  }

  /** Must be called with every update, in order. Unchanged contributions are the same arrays as in earlier plans. */
  plan({ own, peers }: PlannerInput): Plan {
    const isComplete = peers.type === "whole" || this.#own === null;
    const isNewBase = own !== this.#own;
    this.#own = own;
    this.#follow(peers);
    if (this.#chooseRouteForm() || isComplete) return { type: "whole", groups: this.#everything(own) };
    const groups = new Map<string, readonly KernelObject[]>();
    if (isNewBase) groups.set(BASE_GROUP, this.#base(own));
    for (const [key, lease] of peers.peers) groups.set(key, lease === null ? [] : this.#contribution(lease));
    return { type: "delta", groups };
  }

  /** Plans some peers again, for whom the backend answers differently now. Skips keys without a peer. */
  replanPeers(keys: Iterable<LeaseKey>): Plan {
    const groups = new Map<string, readonly KernelObject[]>();
    for (const key of keys) {
      const lease = this.#leases.get(key);
      if (lease === undefined) continue;
      this.#planned.delete(key);
      groups.set(key, this.#contribution(lease));
    }
    return { type: "delta", groups };
  }

  #follow({ type, peers }: PeerUpdate): void {
    if (type === "whole") for (const key of this.#leases.keys()) if (!peers.has(key)) this.#forget(key);
    for (const [key, lease] of peers) {
      if (this.#leases.get(key) === lease) continue;
      this.#forget(key);
      if (lease !== null) this.#leases.set(key, lease);
    }
  }

  #forget(key: LeaseKey): void {
    this.#leases.delete(key);
    this.#planned.delete(key);
  }

  #everything(own: PerFamily<Prefix>): ReadonlyMap<string, readonly KernelObject[]> {
    const groups = new Map([[BASE_GROUP, this.#base(own)]]);
    for (const [key, lease] of this.#leases) groups.set(key, this.#contribution(lease));
    return groups;
  }

  #base(own: PerFamily<Prefix>): readonly KernelObject[] {
    return [...this.#backend.planBase(own), ...this.#extra(own)];
  }

  #contribution(lease: Lease): readonly KernelObject[] {
    const known = this.#planned.get(lease.key);
    if (known !== undefined) return known;
    const objects = this.#backend.planPeer(lease, this.#useNexthops);
    this.#planned.set(lease.key, objects);
    return objects;
  }

  /** Growth switches to nexthop objects once; shrinking does not switch back before the next start. */
  #chooseRouteForm(): boolean {
    if (this.#useNexthops || !this.#hasNexthopObjects || this.#leases.size < NEXTHOP_THRESHOLD) return false;
    this.#useNexthops = true;
    this.#planned.clear();
    return true;
  }
}
