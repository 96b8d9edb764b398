/**
 * UDP flows that the kernel has tracked since before a port was published. NAT applies to the first packet of a flow
 * only: while its client goes on sending, its packets would go to this host itself, or to the former container.
 */

import type { Address } from "../../../ipam/addresses/ip.ts";
import { decodeAddress, encodeAddressDump } from "../../netlink/address.ts";
import { NetlinkConnection } from "../../netlink/connection.ts";
import {
  type Connection,
  decodeConnection,
  encodeConnectionDump,
  encodeDeleteConnection,
  IPPROTO_UDP,
} from "../../netlink/conntrack.ts";
import { NetlinkError } from "../../netlink/errors.ts";
import { NETLINK_NETFILTER } from "../../netlink/socket.ts";
import type { PublishedPort } from "./published-port.ts";

/**
 * Forgets the flows to published ports that lead elsewhere than the rules of `container` do. What the kernel rejects
 * counts as a success: these flows end once their clients pause.
 */
export function forgetStaleFlows(container: Address, ports: readonly PublishedPort[]): void {
  const udp = ports.filter(({ protocol }) => protocol === "udp");
  if (udp.length === 0) return;
  try {
    const own = ownAddresses();
    const isStale = (flow: Connection): boolean =>
      flow.protocol === IPPROTO_UDP &&
      own.has(`${flow.destination}`) &&
      udp.some((port) => isTo(flow, port) && !isAnsweredBy(flow, container, port));
    forget(container, isStale);
  } catch (error) {
    // The module nf_conntrack_netlink may be missing.
    if (!(error instanceof NetlinkError)) throw error;
  }
}

function isTo({ destination, destinationPort }: Connection, port: PublishedPort): boolean {
  const { hostAddress, hostPort, count } = port;
  const isEvery = hostAddress === null || hostAddress.isUnspecified;
  const isItsAddress = isEvery || hostAddress.equals(destination);
  return isItsAddress && destinationPort >= hostPort && destinationPort < hostPort + count;
}

/** True when the flow leads where the rules of the port lead it. */
function isAnsweredBy(
  flow: Connection,
  container: Address,
  { hostPort, containerPort }: PublishedPort,
): boolean {
  const { answerer, answererPort, destinationPort } = flow;
  return answerer.equals(container) && answererPort - containerPort === destinationPort - hostPort;
}

function ownAddresses(): ReadonlySet<string> {
  const host = NetlinkConnection.open();
  try {
    const all = host.dump(encodeAddressDump(), decodeAddress).map(({ address }) => address);
    return new Set(all.filter(({ isLoopback }) => !isLoopback).map(String));
  } finally {
    host.close();
  }
}

function forget({ family }: Address, isStale: (flow: Connection) => boolean): void {
  const tracked = NetlinkConnection.open({ protocol: NETLINK_NETFILTER });
  try {
    const stale = tracked.dump(encodeConnectionDump(family), (message) => {
      const flow = decodeConnection(message, family);
      return flow !== null && isStale(flow) ? flow : null;
    });
    // One that ended meanwhile is an error of its own.
    tracked.batch(stale.map(encodeDeleteConnection));
  } finally {
    tracked.close();
  }
}
