/**
 * Attaches a container to the bridge, all in this process: addresses, devices, routes, firewall.
 *
 * Each finished step pushes its reversal, so that whoever calls can take everything back.
 */

import path from "node:path";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Link } from "../../backends/netlink/link/link.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import { makeFolder } from "../../ipam/files.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { Call } from "../call.ts";
import { allocate, release, requireUnattached } from "../ipam/allocate.ts";
import { reclaimEarlierBoots } from "../ipam/boot.ts";
import { type Allocation, type IpamConfig, parseIpamConfig } from "../ipam/ranges.ts";
import { type Attachment, Reservations } from "../ipam/reservations.ts";
import { withLock } from "../lock.ts";
import type { CniResult, ResultRoute } from "../result.ts";
import type { AttachmentStates } from "../state.ts";
import type { Undo } from "../undo.ts";
import { ensureBridge, ensureGateway } from "./bridge.ts";
import { configureContainer, requireOwnDefault, routesFor } from "./container.ts";
import { deleteHostDevice } from "./detach.ts";
import { findLink } from "./links.ts";
import { type BridgeOptions, parseBridgeOptions } from "./options.ts";
import { createPair, hostDeviceName, waitUntilOpen } from "./pair.ts";
import { ensureGatewayDevice, joinVlans } from "./vlan.ts";

export interface AttachRequest {
  readonly call: Call;
  readonly delegate: JsonObject;
  /** The overlay's ranges: what goes there is never masqueraded. */
  readonly networks: readonly Prefix[];
  readonly states: AttachmentStates;
  readonly netns: NetnsHandle;
  readonly bootId: string;
}

/** Does the work of bridge and host-local. Throws CniError, NetlinkError or what the file system throws. */
export async function attach(request: AttachRequest, undo: Undo): Promise<CniResult> {
  const { call, delegate, netns } = request;
  const options = parseBridgeOptions(delegate, call.args);
  const ipam = parseIpamConfig(delegate, call.args);
  if (options.isDefaultGateway) requireOwnDefault(ipam);
  const host = NetlinkConnection.open();
  try {
    const { bridge, allocations } = reserve(request, host, options, ipam, undo);
    const names = { host: hostDeviceName(call.networkName, call), container: call.interfaceName };
    const port = createPair(host, bridge, names, { netns, mac: options.mac }, options);
    undo.push(() => deleteHostDevice(names.host));
    joinVlans(host, port, options);
    const routes = routesFor(ipam.routes, allocations, options.isDefaultGateway);
    const container = configureContainer(netns, call.interfaceName, allocations, routes);
    await protect(request, options, { port, container }, allocations, undo);
    const dns = await dnsOf(delegate, ipam);
    waitUntilOpen(host, port);
    return describe({ bridge, port, container }, call.netnsPath, allocations, routes, dns);
  } finally {
    host.close();
  }
}

/**
 * Bridge and addresses, which the calls of a network make one after another. Their records wait for the disk on their
 * own, outside the lock.
 */
function reserve(
  { call, delegate, states, bootId }: AttachRequest,
  host: NetlinkConnection,
  options: BridgeOptions,
  ipam: IpamConfig,
  undo: Undo,
): { bridge: Link; allocations: readonly Allocation[] } {
  const folder = path.join(ipam.dataDir, call.networkName);
  const store = new Reservations(ipam.dataDir, call.networkName);
  const isAlive = (attachment: Attachment) =>
    findLink(host, hostDeviceName(call.networkName, attachment)) !== null;
  makeFolder(folder, 0o755);
  withLock(folder, () => {
    for (const gone of reclaimEarlierBoots(store, bootId, isAlive)) states.remove(gone);
    requireUnattached(store, call);
  });
  undo.push(() => states.remove(call));
  states.write(call, delegate);
  return withLock(folder, () => {
    const bridge = ensureBridge(host, options);
    const allocations = allocate(ipam, store, call);
    undo.push(() => withLock(folder, () => release(store, call)));
    if (options.isGateway) {
      const device = ensureGatewayDevice(host, bridge, options);
      ensureGateway(host, device, allocations, options.forceAddress);
    }
    return { bridge, allocations };
  });
}

/** The configuration's own DNS part wins over the one of address management. */
async function dnsOf({ dns }: JsonObject, { resolvConf }: IpamConfig): Promise<JsonObject> {
  if (isJsonObject(dns) && Object.keys(dns).length > 0) return dns;
  if (resolvConf === "") return {};
  const { readResolvConf } = await import("../ipam/resolv-conf.ts");
  return readResolvConf(resolvConf);
}

/** The firewall's part, whose code most calls need not even load. */
async function protect(
  { call, networks }: AttachRequest,
  options: BridgeOptions,
  links: { readonly port: Link; readonly container: Link },
  allocations: readonly Allocation[],
  undo: Undo,
): Promise<void> {
  if (options.ipMasq) {
    const { loadMasquerading } = await import("../firewall/masquerade.ts");
    const { masquerade, stopMasquerading } = await loadMasquerading(options.ipMasqBackend);
    const addresses = allocations.map(({ address }) => address.address);
    masquerade(call.networkName, allocations, networks);
    undo.push(() => stopMasquerading(call.networkName, addresses));
  }
  const { mac } = links.container;
  if (options.macSpoofCheck && mac !== null) {
    const { guardPort, unguardPort } = await import("../firewall/mac-spoofing.ts");
    guardPort(call.networkName, links.port.name, mac);
    undo.push(() => unguardPort(call.networkName, links.port.name));
  }
}

/** What ADD answers: bridge, host end and container end, as the bridge plugin orders them. */
function describe(
  links: { readonly bridge: Link; readonly port: Link; readonly container: Link },
  netnsPath: string,
  allocations: readonly Allocation[],
  routes: readonly ResultRoute[],
  dns: JsonObject,
): CniResult {
  const entry = ({ name, mac, mtuBytes }: Link) => ({ name, ...(mac !== null && { mac }), mtu: mtuBytes });
  return {
    interfaces: [entry(links.bridge), entry(links.port), { ...entry(links.container), sandbox: netnsPath }],
    ips: allocations.map(({ address, gateway }) => ({ address, gateway, interface: 2 })),
    routes,
    dns,
  };
}
