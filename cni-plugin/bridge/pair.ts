/** The pair of devices that joins one container to the bridge, seen from the host. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import {
  encodeNewLink,
  encodeSetBridgePort,
  encodeSetLink,
  type Link,
} from "../../backends/netlink/link/link.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { shortDigest } from "../digest.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import type { Attachment } from "../ipam/reservations.ts";
import { findLink, getLink, isErrno } from "./links.ts";
import type { BridgeOptions } from "./options.ts";

/** linux/if.h */
const IF_OPER_UP = 6;

const PAUSE_MS = 1;
const LONGEST_WAIT_MS = 3000;

/** The name of the host's end: the same for every call about this attachment, so that it is found without state. */
export function hostDeviceName(networkName: string, { containerId, interfaceName }: Attachment): string {
  return `veth${shortDigest(`${networkName}\n${containerId}\n${interfaceName}`).slice(0, 11)}`;
}

/**
 * Makes the pair `name` – `peerName`, its far end in `netns`, its near end a port of the bridge, up.
 * Throws CniError 4 for a name that the kernel would change, and 100 when either name is in use.
 */
export function createPair(
  host: NetlinkConnection,
  bridge: Link,
  names: { readonly host: string; readonly container: string },
  far: { readonly netns: NetnsHandle; readonly mac: Mac | null },
  options: BridgeOptions,
): Link {
  requirePlainName(names.container);
  const size = options.mtuBytes > 0 ? { mtuBytes: options.mtuBytes } : {};
  const mac = far.mac === null ? {} : { mac: far.mac };
  const peer = { name: names.container, netnsFd: far.netns.fd, ...size, ...mac };
  try {
    host.request(encodeNewLink({ name: names.host, ...size, info: { kind: "veth", peer } }));
  } catch (cause) {
    if (!isErrno(cause, "EEXIST")) throw cause;
    const culprit = findLink(host, names.host) === null ? `${names.container} in the container` : names.host;
    throw new CniError(
      CNI_CODES.attachFailed,
      `interface ${culprit} exists already; call DEL first or choose another name`,
      "",
      { cause },
    );
  }
  const pair = getLink(host, names.host);
  host.request(encodeSetLink(pair.index, { masterIndex: bridge.index, isUp: true }));
  const { hairpinMode: hairpin, portIsolation: isolated } = options;
  if (hairpin || isolated) host.request(encodeSetBridgePort(pair.index, { hairpin, isolated }));
  return { ...pair, masterIndex: bridge.index };
}

/** In the name of a new device the kernel fills in a number for %d, and refuses any other % (net/core/dev.c). */
function requirePlainName(name: string): void {
  if (!name.includes("%")) return;
  throw new CniError(CNI_CODES.badEnvironment, `CNI_IFNAME: "${name}" has a %; choose a name without`);
}

/**
 * Waits until packets pass: only a moment after both ends are up does the kernel open the bridge's port (link_watch.c),
 * and what the container sends before that is lost. Throws CniError 100 when it takes too long.
 */
export function waitUntilOpen(host: NetlinkConnection, { name }: Link): void {
  for (let waitedMs = 0; getLink(host, name).operState !== IF_OPER_UP; waitedMs += PAUSE_MS) {
    if (waitedMs >= LONGEST_WAIT_MS) {
      throw new CniError(CNI_CODES.attachFailed, `${name} is not up after ${LONGEST_WAIT_MS} ms`);
    }
    pause(PAUSE_MS);
  }
}

/** Between system calls there is no event to wait for. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
