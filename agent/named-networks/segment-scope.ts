/**
 * Which kernel objects are the named networks': those on devices of the plan, and on devices that a former run or a
 * network without members left. The hardware address proves such a device to be ours, because it is derived from this
 * host's identity and the device's name.
 */

import { isSegmentDevice, type SegmentDevices } from "../../backends/segments/names.ts";
import { type SegmentFacts, segmentSettings } from "../../backends/segments/segment.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";

/**
 * `planned`: the devices of each network. `links`: all devices of the host; null while the store was not listed, when
 * networks and members may have come of which the plan, from the file of the view, has nothing.
 */
export function segmentScope(
  planned: readonly SegmentDevices[],
  facts: SegmentFacts,
  links: readonly LinkObject[] | null,
): Scope {
  const names = planned.flatMap(({ bridge, vxlan }) => [bridge, vxlan]);
  const leftovers = (links ?? []).filter(
    ({ name, mac }) => isSegmentDevice(name) && !names.includes(name) && mac === facts.macFor(name),
  );
  const devices = new Set([...names, ...leftovers.map(({ name }) => name)]);
  return {
    devices,
    sharedDevices: new Set(Object.values(facts.uplinks).map((uplink) => uplink.interface)),
    nexthopDevices: new Set(),
    networks: [],
    sysctls: new Set(
      planned.flatMap((devices) => segmentSettings(devices, facts.hasIpv6)).map(({ path }) => path),
    ),
    isPlanOld: links === null,
  };
}

/** True when the scope has devices beside the planned ones. */
export function hasLeftovers({ devices }: Scope, planned: readonly SegmentDevices[]): boolean {
  return devices.size > 2 * planned.length;
}
