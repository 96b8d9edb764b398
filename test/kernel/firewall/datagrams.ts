/** Single UDP packets with a chosen source, from one namespace to another. */

import process from "node:process";
import type { TestNetns } from "../../support/netns.ts";

/** Adds an address that may be used at once. */
export function addAddress(netns: TestNetns, device: string, address: string): void {
  netns.exec("ip", [
    "address",
    "replace",
    address,
    "dev",
    device,
    ...(address.includes(":") ? ["nodad"] : []),
  ]);
}

const SEND = `
  const [type, source, target, port, device] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(type);
  socket.bind(0, source, () => {
    socket.setBroadcast(true);
    if (device) socket.setMulticastInterface(type === "udp4" ? source : "::%" + device);
    socket.send("packet", Number(port), target, () => socket.close());
  });`;

/**
 * Sends one packet; a source that is not an address of the namespace becomes one. `device`: where a multicast packet
 * leaves.
 */
export function sendDatagram(
  netns: TestNetns,
  source: string,
  target: string,
  port: number,
  device = "",
): void {
  const [family, bits] = target.includes(":") ? ([6, 128] as const) : ([4, 32] as const);
  const isOwn = netns.exec("ip", ["-o", "address"]).includes(` ${source}/`);
  if (!isOwn) addAddress(netns, "lo", `${source}/${bits}`);
  netns.exec(process.execPath, ["-e", SEND, `udp${family}`, source, target, String(port), device]);
}
