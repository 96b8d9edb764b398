/** The host's side of verify.ts: bridge, gateway and the near end of the pair. Reads only. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeGetLink, type Link } from "../../backends/netlink/link/link.ts";
import type { ResultIp } from "../result.ts";
import { addressesOf, isForwarding, isSame } from "./bridge.ts";
import { type Inspection, mtuDifference, unless } from "./inspection.ts";
import { findLink, isErrno } from "./links.ts";

/** The bridge and the gateway's addresses on it, or on its VLAN interface. */
export function bridgeDifferences(
  { options, expected }: Inspection,
  host: NetlinkConnection,
  bridge: Link,
  ips: readonly ResultIp[],
): readonly string[] {
  const { name } = bridge;
  const entry = expected.interfaces.find((found) => found.name === name && found.sandbox === undefined);
  const device = options.vlan === 0 ? bridge : findLink(host, `${name}.${options.vlan}`);
  const present = device === null ? [] : addressesOf(host, device);
  const gateways = options.isGateway ? ips : [];
  return [
    ...unless(bridge.type === "bridge", `${name} is no bridge`),
    ...unless(bridge.isUp, `${name} is down`),
    ...unless(
      entry?.mac === undefined || entry.mac === bridge.mac,
      `${name} has address ${bridge.mac}, not ${entry?.mac}`,
    ),
    ...gateways
      .filter(({ address, gateway }) => {
        const { length } = address;
        return gateway && !present.some((found) => isSame(found, { address: gateway, length }));
      })
      .map(
        ({ address, gateway }) =>
          `${device?.name ?? name} lacks the gateway's address ${gateway}/${address.length}`,
      ),
    ...gateways
      .filter(({ address }) => !isForwarding(address.address.family))
      .map(({ address }) => `the host does not forward IPv${address.address.family}`),
  ];
}

/** The container's end names its peer by the peer's index on the host. */
export function portDifferences(
  { options, expected }: Inspection,
  host: NetlinkConnection,
  link: Link,
  bridge: Link,
): readonly string[] {
  const port = link.linkIndex === null ? null : findByIndex(host, link.linkIndex);
  if (port === null) return [`the host's end of ${link.name} is missing`];
  const { name, bridgePort } = port;
  const ends = expected.interfaces.filter(
    (found) => found.sandbox === undefined && found.name !== bridge.name,
  );
  const entry = ends.find((found) => found.name === name);
  return [
    ...unless(
      ends.length === 0 || entry !== undefined,
      `the host's end is ${name}, which prevResult has not`,
    ),
    ...unless(
      entry?.mac === undefined || entry.mac === port.mac,
      `${name} has address ${port.mac}, not ${entry?.mac}`,
    ),
    ...unless(port.isUp, `${name} is down`),
    ...unless(port.masterIndex === bridge.index, `${name} is no port of ${bridge.name}`),
    ...mtuDifference(name, port, options.mtuBytes),
    ...unless(!options.hairpinMode || bridgePort?.hairpin !== false, `${name} is not in hairpin mode`),
    ...unless(!options.portIsolation || bridgePort?.isolated !== false, `${name} is not isolated`),
  ];
}

function findByIndex(host: NetlinkConnection, index: number): Link | null {
  try {
    return host.get(encodeGetLink({ index }), decodeLink);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return null;
    throw error;
  }
}
