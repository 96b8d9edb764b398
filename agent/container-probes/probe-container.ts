/**
 * A container for probes: a namespace without a name, and a pair of devices that joins it to the bridge of this host's
 * containers, so that its packets pass the same firewall and routes as theirs. Where that bridge does not
 * exist yet, the pair alone leads to it.
 *
 * All of it ends with the process, however that ends: nothing but the process holds the namespace.
 */

import { randomBytes } from "node:crypto";
import { addAddress } from "../../backends/attachment/addresses.ts";
import { attach } from "../../backends/attachment/attach.ts";
import { configureContainer } from "../../backends/attachment/container.ts";
import { deleteLink, findLink, getLink } from "../../backends/attachment/links.ts";
import { randomMacs } from "../../backends/attachment/mac.ts";
import { waitUntilOpen } from "../../backends/attachment/pair.ts";
import type { ContainerSpec } from "../../backends/attachment/spec.ts";
import { Undo } from "../../backends/attachment/undo.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { encodeNewLink, encodeSetLink } from "../../backends/netlink/link/link.ts";
import { NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";
import { EchoPort, HEADER_BYTES } from "../../backends/probe/echo-port.ts";
import { type Address, type Family, mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { TulleError } from "../../ipam/errors.ts";
import type { BridgeAddress } from "../host/local-prefixes.ts";
import { forget, freeAddress, lastPair } from "./free-address.ts";

/** Where a container of this host belongs. */
export interface ContainerPlace {
  readonly subnets: PerFamily<Prefix>;
  readonly bridges: readonly BridgeAddress[];
  readonly mtuBytes: number;
}

/** The container's end of the pair. */
const INTERFACE = "eth0";
const DEFAULT_ROUTES = { 4: Prefix.parse("0.0.0.0/0"), 6: Prefix.parse("::/0") } as const;

export class ProbeContainer {
  readonly netns: NetnsHandle;
  readonly addresses: PerFamily<Address>;
  /** Null where it is not joined to one. */
  readonly bridge: string | null;
  readonly #port: string;

  private constructor(parts: Pick<ProbeContainer, "netns" | "addresses" | "bridge">, port: string) {
    this.netns = parts.netns;
    this.addresses = parts.addresses;
    this.bridge = parts.bridge;
    this.#port = port;
  }

  /** Throws TulleError: a bridge that is down, no free address, no CAP_SYS_ADMIN or CAP_NET_ADMIN. */
  static async open(place: ContainerPlace, clock: Clock, signal: AbortSignal): Promise<ProbeContainer> {
    const port = `veth${randomBytes(5).toString("hex")}`;
    const bridge = bridgeOf(place);
    const netns = NetnsHandle.create();
    try {
      const allocations =
        bridge === null
          ? await joinDirectly(place, port, netns)
          : await joinBridge(bridge, place, port, { netns, clock, signal });
      await untilAnswered(netns, allocations, clock, signal);
      const addresses = addressesOf(allocations);
      return new ProbeContainer({ netns, addresses, bridge: bridge?.name ?? null }, port);
    } catch (error) {
      netns.close();
      throw error;
    }
  }

  /** Call it once. Throws NetlinkError. */
  async close(): Promise<void> {
    const host = NetlinkConnection.open();
    try {
      await deleteLink(host, this.#port);
      const bridge = this.bridge === null ? null : findLink(host, this.bridge);
      if (bridge === null) return;
      for (const address of Object.values(this.addresses))
        forget(host, { interfaceIndex: bridge.index, address });
    } finally {
      host.close();
      this.netns.close();
    }
  }
}

/** The bridge of this host's containers. */
interface ContainerBridge {
  readonly name: string;
  /** The host's addresses on it, of the families that its containers have. */
  readonly gateways: PerFamily<Address>;
}

/** The first one with an address in this host's subnets; null when there is none. */
export function bridgeOf({ subnets, bridges }: ContainerPlace): ContainerBridge | null {
  const isOurs = ({ address }: BridgeAddress): boolean => subnets[address.family]?.contains(address) ?? false;
  const first = bridges.find(isOurs);
  if (first === undefined) return null;
  const own = bridges.filter((one) => one.bridge === first.bridge && isOurs(one));
  const gateways: Partial<Record<Family, Address>> = {};
  for (const { address } of own) gateways[address.family] ??= address;
  return { name: first.bridge, gateways };
}

async function joinBridge(
  bridge: ContainerBridge,
  { subnets, bridges, mtuBytes }: ContainerPlace,
  port: string,
  { netns, clock, signal }: { netns: NetnsHandle; clock: Clock; signal: AbortSignal },
): Promise<readonly Allocation[]> {
  requireUp(bridge.name);
  const taken = bridges.map(({ address }) => address);
  const allocations: Allocation[] = [];
  for (const gateway of Object.values(bridge.gateways)) {
    const subnet = subnets[gateway.family];
    if (subnet === undefined) continue;
    const address = await freeAddress(subnet, { bridge: bridge.name, taken, clock, signal });
    allocations.push({ address: { address, length: subnet.length }, gateway });
  }
  const undo = new Undo();
  try {
    await attach(
      {
        network: "",
        mtuBytes,
        bridge: { name: bridge.name, isPromiscuous: false, gateway: null },
        port: { name: port, isHairpin: false, isIsolated: false, vlans: NO_VLANS },
        container: containerSpec(netns, allocations),
        rules: { masquerade: null, guardsSource: false },
      },
      undo,
    );
  } catch (error) {
    const failures = await undo.run();
    throw failures.length === 0
      ? error
      : new AggregateError([error, ...failures], "a pair of devices is left");
  }
  return allocations;
}

/** A measurement must not repair what it is about: to join a container to a bridge sets it up. Throws TULLE_CONFLICT. */
function requireUp(bridge: string): void {
  const host = NetlinkConnection.open();
  try {
    if (getLink(host, bridge).isUp) return;
  } finally {
    host.close();
  }
  throw new TulleError(
    "TULLE_CONFLICT",
    `bridge ${bridge} of this host's containers is down, so that none of them reaches anything: "ip link set ${bridge} up"`,
  );
}

const NO_VLANS = { untagged: 0, tagged: [], keepsDefault: true };

/** Both ends of the pair have an address of this host's subnet. */
async function joinDirectly(
  { subnets, mtuBytes }: ContainerPlace,
  port: string,
  netns: NetnsHandle,
): Promise<readonly Allocation[]> {
  const pairs = mapFamilies(subnets, lastPair);
  if (Object.keys(pairs).length === 0)
    throw new TulleError(
      "TULLE_CONFLICT",
      "this host has no subnet yet: tulle status says why; try again later",
    );
  const [mac, containerMac] = randomMacs();
  const host = NetlinkConnection.open();
  try {
    const peer = { name: INTERFACE, netnsFd: netns.fd, mac: containerMac, mtuBytes };
    host.request(encodeNewLink({ name: port, mac, mtuBytes, info: { kind: "veth", peer } }));
    const link = getLink(host, port);
    for (const { hostEnd } of Object.values(pairs)) addAddress(host, link, hostEnd);
    host.request(encodeSetLink(link.index, { isUp: true }));
    const allocations = Object.values(pairs).map(({ hostEnd, containerEnd }) => ({
      address: containerEnd,
      gateway: hostEnd.address,
    }));
    configureContainer(containerSpec(netns, allocations), true);
    await waitUntilOpen(host, link);
    return allocations;
  } finally {
    host.close();
  }
}

function addressesOf(allocations: readonly Allocation[]): PerFamily<Address> {
  return Object.fromEntries(allocations.map(({ address: { address } }) => [address.family, address]));
}

/** In IPv6 the first question for a neighbour may be lost, and the kernel repeats it a second later (RFC 4861 section 10). */
const READY_MS = 1_500;
const POLL_MS = 10;
const ECHO_ID = 1;

/** Waits until the gateways answer, so that the measurement is not about the container's start; some never do. */
async function untilAnswered(
  netns: NetnsHandle,
  allocations: readonly Allocation[],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (const { gateway } of allocations) {
    const port = withNetns(netns, () => EchoPort.open(gateway.family, ECHO_ID));
    try {
      port.send(gateway, 0, HEADER_BYTES[gateway.family]);
      for (let waitedMs = 0; port.receive() === null && waitedMs < READY_MS; waitedMs += POLL_MS)
        await clock.sleep(POLL_MS, signal);
    } finally {
      port.close();
    }
  }
}

function containerSpec(netns: NetnsHandle, addresses: readonly Allocation[]): ContainerSpec {
  const routes = addresses.map(({ gateway }) => ({
    destination: DEFAULT_ROUTES[gateway.family],
    gateway: null,
  }));
  return { netns, name: INTERFACE, mac: null, addresses, routes };
}
