/**
 * From leases to desired state: asks the backend for each lease once and remembers the answer.
 *
 * The answer is a pure function of (prepared backend, lease), so a lease that is the same object as last time
 * contributes the same array as last time; that is what makes a join cost a join further down. No I/O.
 */

import type { PerFamily, Prefix } from "../ipam/ip.ts";
import type { Lease, LeaseKey } from "../ipam/lease.ts";
import type { PreparedBackend } from "./backend.ts";
import type { KernelObject } from "./state/objects.ts";
import type { DesiredState } from "./state/tracker.ts";

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
}

interface Contribution {
  readonly lease: Lease;
  readonly objects: readonly KernelObject[];
}

export class Planner {
  readonly #backend: PreparedBackend;
  readonly #extra: readonly KernelObject[];
  readonly #hasNexthopObjects: boolean;
  #useNexthops = false;
  #own: PerFamily<Prefix> | null = null;
  #base: readonly KernelObject[] = [];
  #contributions = new Map<LeaseKey, Contribution>();

  /**
   * @param hasNexthopObjects whether the kernel has them (5.3 and later)
   * @param extra objects that the agent wants besides the backend's
   */
  constructor(backend: PreparedBackend, hasNexthopObjects: boolean, extra: readonly KernelObject[] = []) {
    this.#backend = backend;
    this.#hasNexthopObjects = hasNexthopObjects;
    this.#extra = extra;
  }

  /** The complete desired state. Unchanged contributions are the same arrays as in the answer before. */
  plan(input: PlannerInput): DesiredState {
    this.#chooseRouteForm(input.peers.size);
    const contributions = new Map<LeaseKey, Contribution>();
    const state = new Map<string, readonly KernelObject[]>([[BASE_GROUP, this.#planBase(input.own)]]);
    for (const [key, lease] of input.peers) {
      const known = this.#contributions.get(key);
      const contribution =
        known?.lease === lease ? known : { lease, objects: this.#backend.planPeer(lease, this.#useNexthops) };
      contributions.set(key, contribution);
      state.set(key, contribution.objects);
    }
    this.#contributions = contributions;
    return state;
  }

  /** Growth switches to nexthop objects once; shrinking does not switch back before the next start. */
  #chooseRouteForm(peerCount: number): void {
    if (this.#useNexthops || !this.#hasNexthopObjects || peerCount < NEXTHOP_THRESHOLD) return;
    this.#useNexthops = true;
    this.#contributions = new Map();
  }

  #planBase(own: PerFamily<Prefix>): readonly KernelObject[] {
    if (own !== this.#own) {
      this.#own = own;
      this.#base = [...this.#backend.planBase(own), ...this.#extra];
    }
    return this.#base;
  }
}
