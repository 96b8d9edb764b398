/** Hosts that join a network, on a store in memory. */

import type { Prefix } from "../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../ipam/addresses/local-prefixes.ts";
import type { Membership } from "../../ipam/leases/claimer.ts";
import { type JoinOptions, join } from "../../ipam/leases/join.ts";
import { FakeClock } from "./fake-clock.ts";
import { joinOptions, memoryStore, network } from "./lease-fixture.ts";

export const signal = AbortSignal.timeout(60_000);
/** The time to live of a reservation. */
export const FOREVER = Number.POSITIVE_INFINITY;

/** `enter` has host `n` join as of a listing made now. */
export function lab() {
  const clock = new FakeClock();
  const store = memoryStore(clock);
  const options = (n: number, overrides: Partial<JoinOptions> = {}): JoinOptions =>
    joinOptions(store, clock, n, overrides);
  const enter = async (n: number, overrides: Partial<JoinOptions> = {}): Promise<Membership> => {
    const chosen = options(n, overrides);
    return await join(chosen, await chosen.store.feed.list(signal), signal);
  };
  return { clock, store, options, enter };
}

/** A network with exactly `count` subnets to lease. */
export function networkOf(count: number): ReturnType<typeof network> {
  return network(
    `{"Network":"10.2.0.0/16","SubnetLen":24,"SubnetMin":"10.2.1.0","SubnetMax":"10.2.${count}.0","Backend":{"Type":"vxlan"}}`,
  );
}

/** A prefix that this host reaches by an interface of its own. */
export const reached = (prefix: Prefix): LocalPrefix => ({
  prefix,
  kind: "link",
  origin: "eth1",
  gateway: null,
  mayBeContainers: false,
});
