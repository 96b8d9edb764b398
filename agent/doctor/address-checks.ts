/**
 * Addresses of this host that contradict each other within the network's range. Pure: what was read is given.
 *
 * A subnet on two devices, such as docker0 and cni0, makes two equal routes, and containers of one of them are lost.
 */

import { Prefix } from "../../ipam/addresses/ip.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import { bad, type Finding, ok } from "./finding.ts";

/** One finding per pair of devices with overlapping subnets inside the network's ranges; else one that says so. */
export function overlapFindings(
  { links, addresses }: Pick<HostSnapshot, "links" | "addresses">,
  ranges: readonly Prefix[],
): readonly Finding[] {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const subnets = addresses
    .map(({ address, length, interfaceIndex }) => ({
      subnet: Prefix.of(address, length),
      device: names.get(interfaceIndex) ?? `interface ${interfaceIndex}`,
    }))
    .filter(({ subnet }) => subnet.size > 1n && ranges.some((range) => range.overlaps(subnet)));
  const pairs = subnets.flatMap((left, index) =>
    subnets
      .slice(index + 1)
      .filter((right) => right.device !== left.device && right.subnet.overlaps(left.subnet))
      .map((right) => [left, right] as const),
  );
  if (pairs.length === 0) return [ok("bridges", "each subnet of containers is on one device")];
  return pairs.map(([left, right]) =>
    bad(
      "fail",
      "bridges",
      `${left.device} has ${left.subnet} and ${right.device} has ${right.subnet}: packets reach containers of one only`,
      'use the subnet for Docker or for CNI, not for both: "tulle docker unset" or "tulle cni uninstall", then delete the bridge',
    ),
  );
}
