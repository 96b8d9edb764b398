/** ADD: one container gets its interface, or nothing at all. */

import { type Attached, attach } from "../../backends/attachment/attach.ts";
import { Undo } from "../../backends/attachment/undo.ts";
import type { Link } from "../../backends/netlink/link/link.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { BackgroundSync } from "../../ipam/files/sync.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { type DelegatedPlan, type OwnPlan, planAttachment, specFor } from "../config/plan.ts";
import { routesFor } from "../config/routes.ts";
import { hasPort, openAddresses } from "../host/addresses.ts";
import { openNetns, readSubnetEnv, statesOf } from "../host/host.ts";
import type { Call } from "../protocol/call.ts";
import { CNI_CODES, CniError, toCniError } from "../protocol/errors.ts";
import type { CniResult, ResultRoute } from "../protocol/result.ts";

/** Throws CniError 11 while subnet.env is missing, and others as the specification numbers them. */
export async function add(call: Call): Promise<CniResult> {
  requirePlainName(call.interfaceName);
  const plan = planAttachment(call, readSubnetEnv(call.config, CNI_CODES.tryAgainLater));
  const undo = new Undo();
  try {
    return plan.kind === "own" ? await addOwn(call, plan, undo) : await addByDelegate(call, plan, undo);
  } catch (error) {
    for (const failure of await undo.run())
      call.warn(`cleanup after the failure failed: ${toCniError(failure).message}`);
    throw error;
  }
}

/** In the name of a new device the kernel fills in a number for %d, and rejects any other % (net/core/dev.c). */
function requirePlainName(name: string): void {
  if (!name.includes("%")) return;
  throw new CniError(CNI_CODES.badEnvironment, `CNI_IFNAME: "${name}" has a %; choose a name without`);
}

/**
 * The record is written before anything is made, so that DEL can undo the work of a call that was killed. It and the
 * reservation reach the disk meanwhile: what is made does not outlast a power cut.
 */
async function addOwn(call: Call, plan: OwnPlan, undo: Undo): Promise<CniResult> {
  const { networkName } = call;
  const netns = openNetns(call.netnsPath);
  try {
    const sync = new BackgroundSync();
    const addresses = openAddresses(plan.addresses.dataDir, networkName, sync);
    const states = statesOf(call);
    const gone = await addresses.prepare(call, (attachment) => hasPort(networkName, attachment));
    for (const attachment of gone) states.remove(attachment);
    undo.push(() => states.remove(call));
    states.write(call, await recordOf(plan), sync);
    const allocations = await addresses.reserve(plan.addresses.request, call);
    const { containerId, interfaceName } = call;
    const held = allocations.map(({ address }) => ({ address: address.address, containerId, interfaceName }));
    undo.push(() => addresses.release(held));
    const routes = routesFor(plan.addresses.routes, allocations, plan.options.isDefaultGateway);
    const attached = await attach(specFor(plan, networkName, call, netns, allocations, routes), undo);
    await sync.finished();
    return describe(attached, call.netnsPath, allocations, routes, await dnsOf(plan));
  } finally {
    netns.close();
  }
}

/** Names the tool that makes the rules: by the time of CHECK and DEL another one may be installed. */
async function recordOf({ delegate, options: { rules } }: OwnPlan): Promise<JsonObject> {
  if (rules.masquerade === null || rules.masquerade.engine !== null) return delegate;
  const { usesNft } = await import("../../backends/attachment/rules/engine.ts");
  return { ...delegate, ipMasqBackend: (await usesNft(null)) ? "nftables" : "iptables" };
}

/** The configuration's own DNS part wins over the one of address management. */
async function dnsOf({ delegate: { dns }, addresses: { resolvConf } }: OwnPlan): Promise<JsonObject> {
  if (isJsonObject(dns) && Object.keys(dns).length > 0) return dns;
  if (resolvConf === "") return {};
  const { readResolvConf } = await import("../host/resolv-conf.ts");
  return readResolvConf(resolvConf);
}

/** The result of ADD: bridge, host end and container end, as the bridge plugin orders them. */
function describe(
  { bridge, port, container }: Attached,
  netnsPath: string,
  allocations: readonly Allocation[],
  routes: readonly ResultRoute[],
  dns: JsonObject,
): CniResult {
  const entry = ({ name, mac, mtuBytes }: Link) => ({ name, ...(mac !== null && { mac }), mtu: mtuBytes });
  return {
    interfaces: [entry(bridge), entry(port), { ...entry(container), sandbox: netnsPath }],
    ips: allocations.map(({ address, gateway }) => ({ address, gateway, interface: 2 })),
    routes,
    dns,
  };
}

/** What another plugin made half of, it is asked to remove again (SPEC.md 1.1.0, section 4). */
async function addByDelegate(call: Call, plan: DelegatedPlan, undo: Undo): Promise<CniResult> {
  const { invokePlugin } = await import("../host/invoke.ts");
  const { parseResult } = await import("../protocol/result.ts");
  const { type, delegate } = plan;
  const states = statesOf(call);
  if (plan.usesHostLocal) {
    // host-local itself keeps the addresses of containers that ended with an earlier boot forever.
    const addresses = openAddresses(plan.dataDir, call.networkName);
    for (const attachment of await addresses.reclaimEarlierBoots(() => false)) states.remove(attachment);
  }
  undo.push(() => states.remove(call));
  states.write(call, delegate);
  undo.push(() => invokePlugin("DEL", type, delegate, call));
  return parseResult(invokePlugin("ADD", type, delegate, call), call.version);
}
