/** The pair of devices that joins one container to the bridge, seen from the host. */

import { ConflictError } from "../../ipam/errors.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { encodeNewLink, encodeSetBridgePort, encodeSetLink, type Link } from "../netlink/link/link.ts";
import { explainFullBridge } from "./full-bridge.ts";
import { findLink, getLink, isErrno } from "./links.ts";
import { randomMacs } from "./mac.ts";
import type { ContainerSpec, PortSpec } from "./spec.ts";
import { preferSysctl } from "./sysctl.ts";

/** linux/if.h */
const IF_OPER_UP = 6;

const POLL_MS = 1;
const LONGEST_WAIT_MS = 3000;

/** Creates the pair, its far end in the container. Throws ConflictError when either name is in use. */
export function createPair(
  host: NetlinkConnection,
  port: PortSpec,
  container: Pick<ContainerSpec, "name" | "netns" | "mac">,
  mtuBytes: number,
): Link {
  const [mac, containerMac] = randomMacs();
  const size = mtuBytes > 0 ? { mtuBytes } : {};
  const peer = {
    name: container.name,
    netnsFd: container.netns.fd,
    mac: container.mac ?? containerMac,
    ...size,
  };
  try {
    host.request(encodeNewLink({ name: port.name, mac, ...size, info: { kind: "veth", peer } }));
  } catch (cause) {
    if (!isErrno(cause, "EEXIST")) throw cause;
    const culprit = findLink(host, port.name) === null ? `${container.name} in the container` : port.name;
    throw new ConflictError(`interface ${culprit} exists already; call DEL first or choose another name`, {
      cause,
    });
  }
  return getLink(host, port.name);
}

/** Makes the near end a port of the bridge, up. Throws ConflictError when the bridge takes no more ports. */
export function joinBridge(host: NetlinkConnection, bridge: Link, near: Link, port: PortSpec): Link {
  // A container must not give the host routes.
  preferSysctl(`ipv6/conf/${near.name}/accept_ra`, "0");
  try {
    host.request(encodeSetLink(near.index, { masterIndex: bridge.index, isUp: true }));
  } catch (error) {
    throw explainFullBridge(error, bridge.name);
  }
  const { isHairpin: hairpin, isIsolated: isolated } = port;
  if (hairpin || isolated) host.request(encodeSetBridgePort(near.index, { hairpin, isolated }));
  return { ...near, masterIndex: bridge.index };
}

/**
 * Waits until packets pass: only a moment after both ends are up does the kernel open the bridge's port (link_watch.c),
 * and what the container sends before that is lost. Throws ConflictError when it takes too long.
 */
export async function waitUntilOpen(host: NetlinkConnection, { name }: Link): Promise<void> {
  for (let waitedMs = 0; getLink(host, name).operState !== IF_OPER_UP; waitedMs += POLL_MS) {
    if (waitedMs >= LONGEST_WAIT_MS) {
      throw new ConflictError(
        `${name} is not up after ${LONGEST_WAIT_MS} ms: try again, and look at its bridge with ip -d link`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
