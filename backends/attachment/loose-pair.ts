/**
 * A pair for an engine that moves the container's end itself, as Docker does: both ends are born in this namespace, and
 * the host's end is a port of a bridge that exists.
 */

import type { Mac } from "../../ipam/addresses/mac.ts";
import { ConflictError } from "../../ipam/errors.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { encodeNewLink } from "../netlink/link/link.ts";
import { explainFullBridge } from "./full-bridge.ts";
import { deleteLink, findLink, isErrno } from "./links.ts";
import { randomMacs } from "./mac.ts";
import { preferSysctl } from "./sysctl.ts";

export interface LoosePairSpec {
  readonly bridge: string;
  /** The host's end: at most 15 bytes, as the other one. */
  readonly port: string;
  /** The container's end until the engine renames it. */
  readonly containerEnd: string;
  /** Of the container's end. */
  readonly mac: Mac;
  /** Of both ends. */
  readonly mtuBytes: number;
}

/**
 * Creates the pair, or finds it: the host's end up, the container's end down. The kernel may take milliseconds. Rejects
 * with ConflictError when a name is in use or the bridge is missing or full, and with NetlinkError.
 */
export async function makeLoosePair(host: NetlinkConnection, spec: LoosePairSpec): Promise<void> {
  const { port, containerEnd, mac, mtuBytes } = spec;
  const bridge = findLink(host, spec.bridge);
  if (bridge?.type !== "bridge")
    throw new ConflictError(`this host has no bridge ${spec.bridge}: tulle status says why; try again`);
  const [portMac] = randomMacs();
  const info = { kind: "veth", peer: { name: containerEnd, mac, mtuBytes } } as const;
  const link = { name: port, mac: portMac, mtuBytes, masterIndex: bridge.index, isUp: true, info };
  try {
    await host.requestAsync(encodeNewLink(link));
  } catch (cause) {
    if (!isErrno(cause, "EEXIST")) throw explainFullBridge(cause, spec.bridge);
    const present = findLink(host, port);
    if (present?.masterIndex === bridge.index) return;
    const culprit = present === null ? containerEnd : port;
    throw new ConflictError(`interface ${culprit} exists already; delete it with "ip link del ${culprit}"`, {
      cause,
    });
  }
  // The host has no address in the network, and takes no router's word there.
  preferSysctl(`ipv6/conf/${port}/disable_ipv6`, "1");
}

/** Deletes the pair, in whatever namespace its other end is; absent is a success. Throws NetlinkError. */
export function deleteLoosePair(host: NetlinkConnection, port: string): Promise<void> {
  return deleteLink(host, port);
}
