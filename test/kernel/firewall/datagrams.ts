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
  const [type, source, target, port] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(type);
  socket.bind(0, source, () => socket.send("packet", Number(port), target, () => socket.close()));`;

/** Sends one packet; a source that is none of the namespace's addresses becomes one. */
export function sendDatagram(netns: TestNetns, source: string, target: string, port: number): void {
  const [family, bits] = target.includes(":") ? ([6, 128] as const) : ([4, 32] as const);
  const isOwn = netns.exec("ip", ["-o", "address"]).includes(` ${source}/`);
  if (!isOwn) addAddress(netns, "lo", `${source}/${bits}`);
  netns.exec(process.execPath, ["-e", SEND, `udp${family}`, source, target, String(port)]);
}
