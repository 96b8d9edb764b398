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
  const [type, source, target, port, device, payload] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket(type);
  socket.bind(0, source, () => {
    socket.setBroadcast(true);
    if (device) socket.setMulticastInterface(type === "udp4" ? source : "::%" + device);
    socket.send(Buffer.from(payload, "hex"), Number(port), target, () => socket.close());
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
  payload: Uint8Array = Buffer.from("packet"),
): void {
  const [family, bits] = target.includes(":") ? ([6, 128] as const) : ([4, 32] as const);
  const isOwn = netns.exec("ip", ["-o", "address"]).includes(` ${source}/`);
  if (!isOwn) addAddress(netns, "lo", `${source}/${bits}`);
  const hex = Buffer.from(payload).toString("hex");
  netns.exec(process.execPath, ["-e", SEND, `udp${family}`, source, target, String(port), device, hex]);
}

/** An Ethernet broadcast in VXLAN (RFC 7348, section 5). */
export function vxlanPacket(vni: number): Uint8Array {
  const packet = Buffer.alloc(8 + 60);
  packet.writeUInt32BE(0x08000000, 0);
  packet.writeUInt32BE(vni << 8, 4);
  packet.fill(0xff, 8, 14);
  packet.fill(0x02, 14, 20);
  packet.writeUInt16BE(0x0800, 20);
  return packet;
}
