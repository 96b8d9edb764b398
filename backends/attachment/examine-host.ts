/** The host's side of examine.ts: bridge, gateway and the near end of the pair. Reads only. */

import type { NetlinkConnection } from "../netlink/connection.ts";
import type { Link } from "../netlink/link/link.ts";
import { allAddresses, isSame, ofDevice } from "./addresses.ts";
import { type Expected, mtuDifference, unless } from "./expected.ts";
import { isForwarding } from "./forwarding.ts";
import { findLink, findLinkByIndex } from "./links.ts";
import { gatewayDeviceName } from "./spec.ts";

/** The bridge and the gateway's addresses on it, or on its VLAN interface. */
export function bridgeDifferences(
  { bridge: spec, port, container }: Expected,
  host: NetlinkConnection,
  bridge: Link,
): readonly string[] {
  const { name } = bridge;
  const deviceName = gatewayDeviceName(name, port.vlans);
  const device = deviceName === name ? bridge : findLink(host, deviceName);
  const present = device === null ? [] : ofDevice(allAddresses(host), device);
  const addresses = spec.gateway === null ? [] : container.addresses;
  return [
    ...unless(bridge.type === "bridge", `${name} is not a bridge`),
    ...unless(bridge.isUp, `${name} is down`),
    ...addresses
      .filter(({ address: { length }, gateway }) => {
        return gateway !== null && !present.some((found) => isSame(found, { address: gateway, length }));
      })
      .map(
        ({ address, gateway }) => `${deviceName} lacks the gateway's address ${gateway}/${address.length}`,
      ),
    ...addresses
      .filter(({ address }) => !isForwarding(address.address.family))
      .map(({ address }) => `the host does not forward IPv${address.address.family}`),
  ];
}

/** The container's end names its peer by the peer's index on the host. */
export function portDifferences(
  { port: spec, portNames, mtuBytes }: Expected,
  host: NetlinkConnection,
  link: Link,
  bridge: Link,
): readonly string[] {
  const port = link.linkIndex === null ? null : findLinkByIndex(host, link.linkIndex);
  if (port === null) return [`the host's end of ${link.name} is missing`];
  const { name, bridgePort } = port;
  return [
    ...unless(
      portNames.length === 0 || portNames.includes(name),
      `the host's end is ${name}, not ${portNames.join(" or ")}`,
    ),
    ...unless(port.isUp, `${name} is down`),
    ...unless(port.masterIndex === bridge.index, `${name} is not a port of ${bridge.name}`),
    ...mtuDifference(name, port, mtuBytes),
    ...unless(!spec.isHairpin || bridgePort?.hairpin !== false, `${name} is not in hairpin mode`),
    ...unless(!spec.isIsolated || bridgePort?.isolated !== false, `${name} is not isolated`),
  ];
}
