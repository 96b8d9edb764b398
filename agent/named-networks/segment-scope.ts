/**
 * Which kernel objects are the named networks': those on devices of the plan, and on devices that a former run or a
 * network without members left. The hardware address proves such a device to be ours, because it is derived from this
 * host's identity and the device's name.
 */

import { isSegmentDevice } from "../../backends/segments/names.ts";
import type { SegmentFacts } from "../../backends/segments/segment.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";

/** `planned`: names of devices. `links`: all devices of the host. */
export function segmentScope(
  planned: readonly string[],
  facts: SegmentFacts,
  links: readonly LinkObject[],
): Scope {
  const leftovers = links.filter(
    ({ name, mac }) => isSegmentDevice(name) && !planned.includes(name) && mac === facts.macFor(name),
  );
  const devices = new Set([...planned, ...leftovers.map(({ name }) => name)]);
  return {
    devices,
    sharedDevices: new Set(Object.values(facts.uplinks).map((uplink) => uplink.interface)),
    nexthopDevices: new Set(),
    networks: [],
    sysctls: new Set(
      planned.flatMap((name) => [`net/ipv4/conf/${name}/arp_ignore`, `net/ipv6/conf/${name}/disable_ipv6`]),
    ),
  };
}

/** True when the scope has devices beside the planned ones. */
export function hasLeftovers({ devices }: Scope, planned: readonly string[]): boolean {
  return devices.size > new Set(planned).size;
}
