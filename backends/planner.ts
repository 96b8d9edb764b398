/**
 * From leases to desired state: asks the backend for each lease once and remembers the answer.
 *
 * The answer is a pure function of (prepared backend, lease), so a lease that is the same object as last time
 * contributes the same array as last time; that is what makes a join cost a join further down. No I/O.
 */

import type { PerFamily, Prefix } from "../ipam/addresses/ip.ts";
import type { Lease, LeaseKey } from "../ipam/leases/lease.ts";
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
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /**
   * Keys of all leases in `peers` that came, went or changed since the input before: the others are not looked
   * at. Absent when nobody knows.
   */
  readonly changed?: Iterable<LeaseKey>;
}

export class Planner {
  #backend: PreparedBackend;
  readonly #extra: (own: PerFamily<Prefix>) => readonly KernelObject[];
  readonly #hasNexthopObjects: boolean;
  #useNexthops = false;
  #own: PerFamily<Prefix> | null = null;
  readonly #leases = new Map<LeaseKey, Lease>();
  #groups = new Map<string, readonly KernelObject[]>();

  /**
   * @param hasNexthopObjects whether the kernel has them (5.3 and later)
   * @param extra objects that the agent wants besides the backend's
   */
  constructor(
    backend: PreparedBackend,
    hasNexthopObjects: boolean,
    extra: (own: PerFamily<Prefix>) => readonly KernelObject[] = () => [],
  ) {
    this.#backend = backend;
    this.#hasNexthopObjects = hasNexthopObjects;
    this.#extra = extra;
  }

  /** Plans with another backend, or with other extra objects, from the next call on. The form of the routes stays. */
  replan(backend: PreparedBackend): void {
    this.#backend = backend;
    this.#own = null;
    this.#leases.clear();
    this.#groups = new Map();
  }

  /**
   * The complete desired state. Unchanged contributions are the same arrays as in the answer before, which this one
   * replaces: hand each on before asking for the next.
   */
  plan({ own, peers, changed }: PlannerInput): Plan {
    const isFirst = this.#own === null;
    const isNewForm = this.#chooseRouteForm(peers.size);
    const isNewBase = own !== this.#own;
    if (isNewBase) {
      this.#own = own;
      this.#groups.set(BASE_GROUP, [...this.#backend.planBase(own), ...this.#extra(own)]);
    }
    if (changed === undefined || isNewForm || isFirst) {
      for (const key of this.#leases.keys()) if (!peers.has(key)) this.#planPeer(key, undefined);
      for (const [key, lease] of peers) this.#planPeer(key, lease);
      return { groups: this.#groups };
    }
    const keys = [...changed];
    for (const key of keys) this.#planPeer(key, peers.get(key));
    return { groups: this.#groups, changed: isNewBase ? [BASE_GROUP, ...keys] : keys };
  }

  #planPeer(key: LeaseKey, lease: Lease | undefined): void {
    if (lease === undefined) {
      this.#leases.delete(key);
      this.#groups.delete(key);
    } else if (this.#leases.get(key) !== lease) {
      this.#leases.set(key, lease);
      this.#groups.set(key, this.#backend.planPeer(lease, this.#useNexthops));
    }
  }

  /**
   * Growth switches to nexthop objects once; shrinking does not switch back before the next start. Answers whether
   * every contribution must be made anew.
   */
  #chooseRouteForm(peerCount: number): boolean {
    if (this.#useNexthops || !this.#hasNexthopObjects || peerCount < NEXTHOP_THRESHOLD) return false;
    this.#useNexthops = true;
    for (const key of this.#leases.keys()) this.#planPeer(key, undefined);
    return true;
  }
}
