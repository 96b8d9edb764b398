/** Reads what planCleanup decides from. Changes nothing, not even a missing state directory. */

import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { isTunnelType } from "../../backends/registry.ts";
import { isSegmentDevice } from "../../backends/segments/names.ts";
import { type KernelObject, keyOf } from "../../backends/state/kinds/registry.ts";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { parseSubnetEnv } from "../../ipam/config/subnet-env.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { decodeIdentity, type IdentityRecord, identityPath } from "../host/identity.ts";
import { findProgram } from "../host/other-programs.ts";
import { NAME_SERVER_OBJECT, NAME_SERVER_SCOPE } from "../names/name-server-address.ts";
import { readRecordedRanges } from "../network/network-history.ts";
import { readRecordedInterfaces } from "../network/ownership.ts";
import type { HostState } from "./plan.ts";

export interface HostStateFiles {
  readonly stateDir: string;
  readonly subnetFile: string;
}

/** Every route is visible through one of these. */
const EVERYTHING = [Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")];

/** Throws CodecError for an identity that cannot be read: only the identity shows which objects are ours. */
export async function readHostState(port: RtnetlinkPort, files: HostStateFiles): Promise<HostState> {
  const devices = new Set(tunnelDevices(port));
  const interfaces = readRecordedInterfaces(files.stateDir);
  const objects = await port.dump({
    devices,
    sharedDevices: new Set(),
    nexthopDevices: new Set([...devices, ...interfaces]),
    networks: EVERYTHING,
    sysctls: new Set(),
  });
  return {
    identity: await readIdentity(files.stateDir),
    networks: [...readNetworks(files.subnetFile), ...readRecordedRanges(files.stateDir)],
    objects,
    interfaces,
    flanneldPid: findProgram("flanneld"),
  };
}

/** The name server's address, in a list; an empty one where it is not configured. */
export async function readNameServerAddress(port: RtnetlinkPort): Promise<readonly KernelObject[]> {
  const objects = await port.dump(NAME_SERVER_SCOPE);
  return objects.filter((object) => keyOf(object) === keyOf(NAME_SERVER_OBJECT));
}

/** The record that tulled keeps in its state directory, null when there is none. Throws CodecError. */
export async function readIdentity(stateDir: string): Promise<IdentityRecord | null> {
  const text = readOwnFile(identityPath(stateDir));
  return text === null ? null : decodeIdentity(text);
}

function tunnelDevices(port: RtnetlinkPort): string[] {
  return port
    .links()
    .filter(({ name, type }) => isTunnelType(type) || isSegmentDevice(name))
    .map(({ name }) => name);
}

/** A file that is damaged names no network; it is still ours to remove. */
function readNetworks(path: string): readonly Prefix[] {
  const text = readOwnFile(path);
  if (text === null) return [];
  try {
    return Object.values(parseSubnetEnv(text).networks).flat();
  } catch {
    return [];
  }
}
