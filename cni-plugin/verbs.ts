/** The verbs of the plugin. Everything they need comes from the call and subnet.env. */

import { readFileSync } from "node:fs";
import path from "node:path";
import { decodeAddress, encodeAddressDump } from "../backends/netlink/address.ts";
import { NetlinkConnection } from "../backends/netlink/connection.ts";
import { NetnsHandle } from "../backends/netlink/netns.ts";
import { isJsonObject, type JsonObject } from "../ipam/json.ts";
import { parseSubnetEnv, type SubnetEnv } from "../ipam/subnet-env.ts";
import * as bridge from "./bridge/attach.ts";
import { isServedInProcess, parseBridgeOptions } from "./bridge/options.ts";
import type { Call } from "./call.ts";
import { deriveDelegate, parsePaths } from "./delegate.ts";
import type { VerbTable } from "./dispatch.ts";
import { asCniError, CNI_CODES, CniError } from "./errors.ts";
import { allocate, release, releaseOthers } from "./ipam/allocate.ts";
import { DEFAULT_DATA_DIR, parseIpamConfig } from "./ipam/ranges.ts";
import { isHeldBy, Reservations } from "./ipam/reservations.ts";
import { withLock } from "./lock.ts";
import { type CniResult, parseResult } from "./result.ts";

export const VERBS: VerbTable = {
  ADD: add,
  DEL: del,
  CHECK: checkAttachment,
  STATUS: status,
  GC: collectGarbage,
};

async function add(call: Call): Promise<CniResult> {
  const delegate = deriveDelegate(call.config, readEnv(call, CNI_CODES.tryAgainLater));
  requireServed(delegate);
  const options = parseBridgeOptions(delegate, call.args);
  const ipam = parseIpamConfig(delegate, call.args);
  const netns = asCniError(CNI_CODES.invalidNetns, "CNI_NETNS", () => NetnsHandle.open(call.netnsPath));
  const host = NetlinkConnection.open();
  try {
    const master = bridge.ensureBridge(host, options);
    const pair = bridge.createPair(host, master, netns, call, options);
    try {
      const folder = path.join(ipam.dataDir, call.networkName);
      const allocations = withLock(folder, () => {
        const given = allocate(ipam, new Reservations(ipam.dataDir, call.networkName), call);
        if (options.isGateway) bridge.ensureGateway(host, master, given, options.forceAddress);
        return given;
      });
      const routes = bridge.routesFor(ipam.routes, allocations, options.isDefaultGateway);
      const container = bridge.configureContainer(netns, call.interfaceName, allocations, routes);
      const dns = isJsonObject(delegate.dns) ? delegate.dns : {};
      return bridge.describe(
        { bridge: master, host: pair, container },
        call.netnsPath,
        allocations,
        routes,
        dns,
      );
    } catch (error) {
      bridge.deletePair(host, pair.name);
      releaseAddresses(call, ipam.dataDir);
      throw error;
    }
  } finally {
    host.close();
    netns.close();
  }
}

/** Needs neither state nor subnet.env nor the namespace: the names of all that ADD makes follow from the call. */
async function del(call: Call): Promise<null> {
  const host = NetlinkConnection.open();
  try {
    bridge.deletePair(host, bridge.hostDeviceName(call));
  } finally {
    host.close();
  }
  releaseAddresses(call, dataDirOf(call));
  return null;
}

async function checkAttachment(call: Call): Promise<null> {
  const expected = parseResult(call.config.prevResult ?? missingPrevResult());
  const held = withReservations(call, dataDirOf(call), (store) =>
    store.list().filter((reservation) => isHeldBy(reservation, call)),
  );
  const netns = asCniError(CNI_CODES.invalidNetns, "CNI_NETNS", () => NetnsHandle.open(call.netnsPath));
  try {
    const container = NetlinkConnection.open({ netns });
    const link = bridge.findLink(container, call.interfaceName);
    if (link === null || !link.isUp)
      throw mismatch(`${call.interfaceName} is missing or down in the container`);
    const present = container.dump(encodeAddressDump(link.index), decodeAddress);
    container.close();
    for (const { address } of expected.ips) {
      const text = `${address.address}/${address.length}`;
      if (!present.some((entry) => `${entry.address}/${entry.length}` === text))
        throw mismatch(`${text} is missing`);
      if (!held.some((entry) => entry.address.equals(address.address)))
        throw mismatch(`${text} is not reserved`);
    }
  } finally {
    netns.close();
  }
  checkHostEnd(call);
  return null;
}

function checkHostEnd(call: Call): void {
  const name = bridge.hostDeviceName(call);
  const host = NetlinkConnection.open();
  try {
    const link = bridge.findLink(host, name);
    if (link === null || !link.isUp || link.masterIndex === null) {
      throw mismatch(`${name} is missing, down or no longer a port of the bridge`);
    }
  } finally {
    host.close();
  }
}

async function status(call: Call): Promise<null> {
  readEnv(call, CNI_CODES.notAvailable);
  return null;
}

async function collectGarbage(call: Call): Promise<null> {
  const list = call.config["cni.dev/valid-attachments"] ?? [];
  if (!Array.isArray(list) || !list.every(isJsonObject)) {
    throw new CniError(CNI_CODES.invalidConfig, "cni.dev/valid-attachments is no list of objects");
  }
  const valid = list.map((entry) => ({
    containerId: String(entry.containerID),
    interfaceName: String(entry.ifname),
  }));
  withReservations(call, dataDirOf(call), (store) => {
    const stale = store.list().filter((entry) => !valid.some((attachment) => isHeldBy(entry, attachment)));
    const host = NetlinkConnection.open();
    for (const entry of stale)
      bridge.deletePair(host, bridge.hostDeviceName({ ...entry, networkName: call.networkName }));
    host.close();
    releaseOthers(store, valid);
  });
  return null;
}

function readEnv(call: Call, code: 11 | 50): SubnetEnv {
  const { subnetFile } = parsePaths(call.config);
  return asCniError(code, `cannot read ${subnetFile}; is tulled running on this host`, () =>
    parseSubnetEnv(readFileSync(subnetFile, "utf8")),
  );
}

function requireServed(delegate: JsonObject): void {
  if (isServedInProcess(delegate)) return;
  throw new CniError(
    CNI_CODES.unsupportedField,
    `delegate of type ${JSON.stringify(delegate.type)} with these options is not served by this version`,
    "use type bridge without ipMasq, macspoofchk, vlan and disableContainerInterface, and ipam type host-local",
  );
}

function dataDirOf(call: Call): string {
  const ipam = call.config.ipam;
  const dir = isJsonObject(ipam) ? ipam.dataDir : undefined;
  return typeof dir === "string" && dir !== "" ? dir : DEFAULT_DATA_DIR;
}

function releaseAddresses(call: Call, dataDir: string): void {
  withReservations(call, dataDir, (store) => release(store, call));
}

function withReservations<T>(call: Call, dataDir: string, body: (store: Reservations) => T): T {
  return withLock(path.join(dataDir, call.networkName), () =>
    body(new Reservations(dataDir, call.networkName)),
  );
}

function missingPrevResult(): never {
  throw new CniError(CNI_CODES.invalidConfig, "CHECK needs prevResult and the configuration has none");
}

function mismatch(what: string): CniError {
  return new CniError(CNI_CODES.checkFailed, `${what}; delete the container and make it anew`);
}
