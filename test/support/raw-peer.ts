/** A host of the udp backend played by hand: it sends and receives bare IP packets in datagrams. Without tulle's code. */

import { execFileSync, spawn } from "node:child_process";
import process from "node:process";
import type { Namespace } from "../../agent/demo/namespace.ts";

const PORT = 8285;

const SEND = `
  const [target, ...packets] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket("udp4");
  socket.bind(${PORT}, () => {
    let left = packets.length;
    for (const packet of packets)
      socket.send(Buffer.from(packet, "hex"), ${PORT}, target, () => --left || socket.close());
  });`;

/** Answers echo requests as a container would, and prints what it got. */
const ANSWER = `
  const socket = require("node:dgram").createSocket("udp4");
  socket.on("message", (packet, from) => {
    console.log(packet.toString("hex"));
    const answer = Buffer.from(packet);
    packet.copy(answer, 12, 16, 20);
    packet.copy(answer, 16, 12, 16);
    answer[20] = 0;
    const checksum = packet.readUInt16BE(22) + 0x800;
    answer.writeUInt16BE((checksum & 0xffff) + (checksum >> 16), 22);
    socket.send(answer, ${PORT}, from.address);
  });
  socket.bind(${PORT}, () => console.log("ready"));`;

/** Sends each packet in a datagram to the host with this address. */
export function sendRaw(netns: Namespace, target: string, ...packets: readonly Buffer[]): void {
  const texts = packets.map((packet) => packet.toString("hex"));
  execFileSync("nsenter", [`--net=${netns.path}`, process.execPath, "-e", SEND, target, ...texts]);
}

/** Runs until it is stopped. */
export interface Answering {
  readonly packets: readonly Buffer[];
  stop(): void;
}

/** Answers every echo request that arrives in a datagram. */
export async function answerEchoes(netns: Namespace): Promise<Answering> {
  const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, "-e", ANSWER]);
  const packets: Buffer[] = [];
  await new Promise<void>((resolve) => {
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk;
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines)
        if (line === "ready") resolve();
        else packets.push(Buffer.from(line, "hex"));
    });
  });
  return { packets, stop: () => void child.kill() };
}

/** An IPv4 echo request with right checksums. */
export function echoRequest(source: string, destination: string, { ttl = 64, tos = 0 } = {}): Buffer {
  const packet = Buffer.alloc(28 + 32);
  packet.set([0x45, tos, 0, packet.length, 0, 1, 0, 0, ttl, 1]);
  packet.set(source.split(".").map(Number), 12);
  packet.set(destination.split(".").map(Number), 16);
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10);
  packet.set([8, 0, 0, 0, 0, 7, 0, 1], 20);
  packet.writeUInt16BE(checksum(packet.subarray(20)), 22);
  return packet;
}

/** RFC 1071; 0 over bytes that contain a right checksum. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at] as number) * 256 + (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
