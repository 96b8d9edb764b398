/**
 * The bridge, the pair of devices, addresses and routes of one container, over netlink.
 *
 * The host's end is named after the attachment, so that it can be found without any state.
 */

import { createHash, randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import {
  decodeAddress,
  encodeAddressDump,
  encodeDeleteAddress,
  encodeNewAddress,
  IFA_F_NODAD,
} from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import {
  decodeLink,
  encodeDeleteLink,
  encodeGetLink,
  encodeLinkDump,
  encodeNewLink,
  encodeSetBridgePort,
  encodeSetLink,
  type Link,
} from "../../backends/netlink/link.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { encodeNewRoute } from "../../backends/netlink/route.ts";
import { Address, type Family, Prefix } from "../../ipam/ip.ts";
import { localMacFromSeed } from "../../ipam/mac.ts";
import type { Call } from "../call.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import type { Allocation } from "../ipam/ranges.ts";
import type { CniResult, ResultRoute } from "../result.ts";
import type { BridgeOptions } from "./options.ts";

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
};

/** The name of the host's end: 12 characters, the same for every call about this attachment. */
export function hostDeviceName(call: Pick<Call, "networkName" | "containerId" | "interfaceName">): string {
  const digest = createHash("sha256").update(
    `${call.networkName}\n${call.containerId}\n${call.interfaceName}`,
  );
  return `veth${digest.digest("hex").slice(0, 8)}`;
}

/** Finds or makes the bridge and raises it. Throws CniError 100 when the name belongs to another kind of device. */
export function ensureBridge(host: NetlinkConnection, options: BridgeOptions): Link {
  const { bridge: name, mtuBytes, promiscMode } = options;
  const found = findLink(host, name);
  if (found === null) {
    const mac = localMacFromSeed(randomBytes(6));
    ignoring("EEXIST", () =>
      host.request(encodeNewLink({ name, mac, ...(mtuBytes > 0 && { mtuBytes }), info: { kind: "bridge" } })),
    );
  }
  const bridge = host.get(encodeGetLink({ name }), decodeLink);
  if (bridge.type !== "bridge") {
    throw new CniError(
      CNI_CODES.attachFailed,
      `"${name}" exists but is no bridge; remove it or set "bridge"`,
    );
  }
  // An address set by hand stays; one the kernel chose follows the ports.
  const mac = found !== null && bridge.mac !== null ? { mac: bridge.mac } : {};
  host.request(
    encodeSetLink(bridge.index, { ...mac, isUp: true, ...(promiscMode && { isPromiscuous: true }) }),
  );
  return bridge;
}

/** Gives the bridge the gateway's addresses. Throws CniError 100 when it holds another one and has containers. */
export function ensureGateway(
  host: NetlinkConnection,
  bridge: Link,
  allocations: readonly Allocation[],
  force: boolean,
): void {
  const present = host
    .dump(encodeAddressDump(bridge.index), decodeAddress)
    .filter((entry) => !entry.address.isLinkLocal);
  for (const { address, gateway } of allocations) {
    const wanted = { address: gateway, length: address.length };
    const subnet = Prefix.of(gateway, address.length);
    const rivals = present.filter((entry) => entry.address.family === gateway.family);
    if (!rivals.some((entry) => entry.address.equals(gateway) && entry.length === address.length)) {
      const conflicting = rivals.filter(
        (entry) => gateway.family === 4 || Prefix.of(entry.address, entry.length).overlaps(subnet),
      );
      for (const old of conflicting)
        removeOldAddress(host, bridge, old, `${gateway}/${address.length}`, force);
      ignoring("EEXIST", () => host.request(encodeNewAddress({ interfaceIndex: bridge.index, ...wanted })));
    }
    writeFileSync(FORWARDING[gateway.family], "1");
  }
}

function removeOldAddress(
  host: NetlinkConnection,
  bridge: Link,
  old: { readonly address: Address; readonly length: number },
  wanted: string,
  force: boolean,
): void {
  const ports = host.dump(encodeLinkDump({ masterIndex: bridge.index }), decodeLink);
  const containers = ports.filter(({ masterIndex }) => masterIndex === bridge.index).length;
  if (containers > 0 && !force) {
    throw new CniError(
      CNI_CODES.attachFailed,
      `${bridge.name} holds ${old.address}/${old.length} but this host's subnet now needs ${wanted}`,
      `${containers} containers still use the old subnet: stop them and try again, or set "forceAddress": true`,
    );
  }
  const { address, length } = old;
  ignoring("EADDRNOTAVAIL", () =>
    host.request(encodeDeleteAddress({ interfaceIndex: bridge.index, address, length })),
  );
}

/** Makes the pair, its host end a port of the bridge. Throws CniError 100 when the container has such an interface. */
export function createPair(
  host: NetlinkConnection,
  bridge: Link,
  netns: NetnsHandle,
  call: Call,
  options: BridgeOptions,
): Link {
  const name = hostDeviceName(call);
  const size = options.mtuBytes > 0 ? { mtuBytes: options.mtuBytes } : {};
  const peer = {
    name: call.interfaceName,
    netnsFd: netns.fd,
    ...size,
    ...(options.mac !== null && { mac: options.mac }),
  };
  try {
    host.request(encodeNewLink({ name, ...size, info: { kind: "veth", peer } }));
  } catch (cause) {
    if (!isErrno(cause, "EEXIST")) throw cause;
    throw new CniError(
      CNI_CODES.attachFailed,
      `interface ${call.interfaceName} or ${name} exists already`,
      "",
      { cause },
    );
  }
  const pair = host.get(encodeGetLink({ name }), decodeLink);
  host.request(encodeSetLink(pair.index, { masterIndex: bridge.index, isUp: true }));
  host.request(
    encodeSetBridgePort(pair.index, { hairpin: options.hairpinMode, isolated: options.portIsolation }),
  );
  return pair;
}

/** Raises the container's end and gives it addresses and routes. Throws NetlinkError. */
export function configureContainer(
  netns: NetnsHandle,
  name: string,
  allocations: readonly Allocation[],
  routes: readonly ResultRoute[],
): Link {
  const container = NetlinkConnection.open({ netns });
  try {
    const { index } = container.get(encodeGetLink({ name }), decodeLink);
    container.request(encodeSetLink(index, { isUp: true }));
    for (const { address } of allocations) {
      const flags = address.address.family === 6 ? { flags: IFA_F_NODAD } : {};
      container.request(encodeNewAddress({ interfaceIndex: index, ...address, ...flags }));
    }
    for (const { destination, gateway } of routes) {
      const via =
        gateway ?? allocations.find((entry) => entry.gateway.family === destination.family)?.gateway;
      if (via === undefined) continue;
      ignoring("EEXIST", () =>
        container.request(encodeNewRoute({ destination, outputIndex: index, gateway: via })),
      );
    }
    return container.get(encodeGetLink({ name }), decodeLink);
  } finally {
    container.close();
  }
}

/** The configured routes and, where asked for, a default route per family that has none. */
export function routesFor(
  configured: readonly ResultRoute[],
  allocations: readonly Allocation[],
  isDefaultGateway: boolean,
): readonly ResultRoute[] {
  if (!isDefaultGateway) return configured;
  const defaults = allocations
    .filter(
      ({ gateway }) =>
        !configured.some((route) => isDefault(route) && route.destination.family === gateway.family),
    )
    .map(({ gateway }) => ({
      destination: Prefix.of(Address.of(gateway.family, 0n), 0),
      gateway,
      extras: {},
    }));
  return [...configured, ...defaults];
}

function isDefault({ destination, gateway }: ResultRoute): boolean {
  return destination.length === 0 && gateway !== null;
}

/** What ADD answers: bridge, host end and container end, as the bridge plugin orders them. */
export function describe(
  links: { readonly bridge: Link; readonly host: Link; readonly container: Link },
  netnsPath: string,
  allocations: readonly Allocation[],
  routes: readonly ResultRoute[],
  dns: CniResult["dns"],
): CniResult {
  const entry = ({ name, mac, mtuBytes }: Link) => ({ name, ...(mac !== null && { mac }), mtu: mtuBytes });
  return {
    interfaces: [entry(links.bridge), entry(links.host), { ...entry(links.container), sandbox: netnsPath }],
    ips: allocations.map(({ address, gateway }) => ({ address, gateway, interface: 2 })),
    routes,
    dns,
  };
}

/** Deletes the pair by its host end, which takes the container's end along; absent is a success. */
export function deletePair(host: NetlinkConnection, name: string): void {
  ignoring("ENODEV", () => host.request(encodeDeleteLink({ name })));
}

/** The device of this name, null when there is none. */
export function findLink(connection: NetlinkConnection, name: string): Link | null {
  try {
    return connection.get(encodeGetLink({ name }), decodeLink);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return null;
    throw error;
  }
}

function ignoring(errnoName: string, body: () => void): void {
  try {
    body();
  } catch (error) {
    if (!isErrno(error, errnoName)) throw error;
  }
}

function isErrno(error: unknown, errnoName: string): boolean {
  return error instanceof NetlinkError && error.errnoName === errnoName;
}
