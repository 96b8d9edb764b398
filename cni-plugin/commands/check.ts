/** CHECK: everything that ADD made is still there and as it was. It changes nothing. */

import { findDifferences, findRuleDifferences } from "../../backends/attachment/examine.ts";
import type { Expected } from "../../backends/attachment/expected.ts";
import { portName } from "../../backends/attachment/port-name.ts";
import { usesRules } from "../../backends/attachment/spec.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { isHeldBy } from "../../ipam/containers/attachment.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { readDataDir } from "../config/address-config.ts";
import type { BridgeOptions } from "../config/bridge-options.ts";
import { planExamination, typeOf } from "../config/plan.ts";
import { toContainerRoute, withGateways } from "../config/routes.ts";
import { openAddresses } from "../host/addresses.ts";
import { currentDelegate, openNetns, statesOf } from "../host/host.ts";
import { isTuned } from "../host/tuned.ts";
import type { Call } from "../protocol/call.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";
import { type CniResult, parseResult, type ResultInterface, type ResultIp } from "../protocol/result.ts";

/** Throws CniError 102 that lists every difference, and 7 for a prevResult that is missing or another container's. */
export async function check(call: Call): Promise<null> {
  const { prevResult } = call.config;
  if (prevResult === undefined || prevResult === null) {
    throw new CniError(CNI_CODES.invalidConfig, "CHECK needs prevResult and the configuration has none");
  }
  const result = parseResult(prevResult, call.version);
  const delegate = statesOf(call).read(call) ?? currentDelegate(call);
  const options = planExamination(delegate, call.args);
  if (options === null) return forward(call, delegate, result);
  const ips = addressesOfContainer(call, result);
  const netns = openNetns(call.netnsPath);
  try {
    const expected = expect(call, options, result, ips, netns);
    const differences = [
      ...sandboxDifferences(call, result),
      ...(await reservationDifferences(call, readDataDir(delegate), ips)),
      ...findDifferences(expected),
      ...(await rulesOf(call, options, expected)),
    ];
    if (differences.length === 0) return null;
    throw new CniError(
      CNI_CODES.checkFailed,
      `${call.interfaceName} of ${call.containerId} differs from its ADD result: ${differences.join("; ")}`,
      "recreate the container",
    );
  } finally {
    netns.close();
  }
}

function expect(
  call: Call,
  { bridge, port, mtuBytes }: BridgeOptions,
  { interfaces, routes }: CniResult,
  ips: readonly ResultIp[],
  netns: NetnsHandle,
): Expected {
  const onHost = interfaces.filter(({ sandbox }) => sandbox === undefined);
  return {
    netns,
    bridge,
    port: { ...port, name: portName(call.networkName, call) },
    portNames: onHost.map(({ name }) => name).filter((name) => name !== bridge.name),
    mtuBytes,
    container: {
      name: call.interfaceName,
      mtuBytes: isTuned(call, "mtu") ? 0 : mtuBytes,
      mac: ownInterface(call, interfaces)?.mac,
      addresses: ips,
      routes: routes.map(toContainerRoute),
    },
  };
}

/** Rules of attachments that another program made are not ours to miss. */
async function rulesOf(call: Call, { rules }: BridgeOptions, expected: Expected): Promise<readonly string[]> {
  const { port, portNames, container } = expected;
  if (!usesRules(rules) || !portNames.includes(port.name)) return [];
  return findRuleDifferences(call.networkName, port.name, rules, container);
}

/** The addresses in the result that belong to the interface which the call names. */
function addressesOfContainer(call: Call, { interfaces, ips }: CniResult): readonly ResultIp[] {
  if (interfaces.length > 0 && ownInterface(call, interfaces) === undefined) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `prevResult has no interface ${call.interfaceName} in a container; pass the result of this container's ADD`,
    );
  }
  return ips.filter(({ interface: index }) => {
    const entry = index === null ? undefined : interfaces[index];
    return entry === undefined || isOwn(call, entry);
  });
}

function ownInterface(call: Call, interfaces: readonly ResultInterface[]): ResultInterface | undefined {
  return interfaces.find((entry) => isOwn(call, entry));
}

function isOwn({ interfaceName }: Call, { name, sandbox }: ResultInterface): boolean {
  return name === interfaceName && sandbox !== undefined;
}

function sandboxDifferences(call: Call, { interfaces }: CniResult): readonly string[] {
  const { sandbox = call.netnsPath } = ownInterface(call, interfaces) ?? {};
  return sandbox === call.netnsPath ? [] : [`prevResult is of namespace ${sandbox}`];
}

async function reservationDifferences(
  call: Call,
  dataDir: string,
  ips: readonly ResultIp[],
): Promise<readonly string[]> {
  const reserved = await openAddresses(dataDir, call.networkName).list();
  const held = reserved.filter((reservation) => isHeldBy(reservation, call));
  return ips
    .filter(({ address }) => !held.some((entry) => entry.address.equals(address.address)))
    .map(({ address }) => `${address.address} is not reserved for it`);
}

/**
 * Plugins look for the routes of prevResult as they stand there. Those without a gateway, as flannel adds one per network,
 * were made by the gateway of the address (ConfigureIface of containernetworking/plugins), and none would be found.
 */
async function forward(call: Call, delegate: JsonObject, result: CniResult): Promise<null> {
  const { invokePlugin } = await import("../host/invoke.ts");
  // The record's version may be older than that of prevResult, and than CHECK itself.
  const { cniVersion = "", prevResult } = call.config;
  const given = isJsonObject(prevResult) ? withGateways(prevResult, result) : null;
  invokePlugin("CHECK", typeOf(delegate), { ...delegate, cniVersion, prevResult: given }, call);
  return null;
}
