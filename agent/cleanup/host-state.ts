/** Reads what planCleanup decides from. Changes nothing, not even a missing state directory. */

import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump } from "../../backends/netlink/link/link.ts";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { parseSubnetEnv } from "../../ipam/config/subnet-env.ts";
import { readOwnFile } from "../../ipam/files.ts";
import { decodeIdentity, type IdentityRecord, identityPath } from "../host/identity.ts";
import { findProgram } from "../host/other-programs.ts";
import type { HostState } from "./plan.ts";

export interface HostStateFiles {
  readonly stateDir: string;
  readonly subnetFile: string;
}

/** Every route is visible through one of these. */
const EVERYTHING = [Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")];

/** Throws CodecError for an identity that cannot be read, because then nothing could be told from others' things. */
export async function readHostState(port: RtnetlinkPort, files: HostStateFiles): Promise<HostState> {
  const objects = await port.dump({
    devices: new Set(vxlanDevices()),
    sharedDevices: new Set(),
    networks: EVERYTHING,
    sysctls: new Set(),
  });
  return {
    identity: await readIdentity(files.stateDir),
    networks: await readNetworks(files.subnetFile),
    objects,
    flanneldPid: findProgram("flanneld"),
  };
}

/** The record that tulled keeps in its state directory, null when there is none. Throws CodecError. */
export async function readIdentity(stateDir: string): Promise<IdentityRecord | null> {
  const text = readOwnFile(identityPath(stateDir));
  return text === null ? null : decodeIdentity(text);
}

function vxlanDevices(): string[] {
  const connection = NetlinkConnection.open();
  try {
    const links = connection.dump(encodeLinkDump(), decodeLink);
    return links.filter(({ type }) => type === "vxlan").map(({ name }) => name);
  } finally {
    connection.close();
  }
}

/** A file that is damaged names no network; it is still ours to remove. */
async function readNetworks(path: string): Promise<readonly Prefix[]> {
  const text = readOwnFile(path);
  if (text === null) return [];
  try {
    return Object.values(parseSubnetEnv(text).networks).flat();
  } catch {
    return [];
  }
}
