/**
 * One question to one server. Each has a socket of its own, hence a random port, and a random id: a forger has to guess
 * both (RFC 5452). The socket is connected, so the kernel drops what another address sends.
 */

import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { isAnswerTo, type Query, type Transport, withId } from "./message.ts";
import type { Upstream } from "./resolv-conf.ts";
import { frame, MessageReader } from "./tcp-frames.ts";

type Ask = (query: Query, upstream: Upstream, signal: AbortSignal) => Promise<Buffer>;

/**
 * The server's answer, checked against the question. Rejects when the server cannot be reached, and when `signal` fires;
 * other messages are ignored.
 */
export const EXCHANGES: Readonly<Record<Transport, Ask>> = { udp: askByUdp, tcp: askByTcp };

function askByUdp(query: Query, { host, port }: Upstream, signal: AbortSignal): Promise<Buffer> {
  const message = withId(query.bytes, randomInt(0x10000));
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  return new Promise<Buffer>((resolve, reject) => {
    onAbort(signal, reject);
    socket.on("error", reject);
    socket.on("message", (answer) => {
      if (isAnswerTo(answer, message, query.questionEnd)) resolve(answer);
    });
    socket.connect(port, host, () => socket.send(message));
  }).finally(() => socket.close());
}

function askByTcp(query: Query, { host, port }: Upstream, signal: AbortSignal): Promise<Buffer> {
  const message = withId(query.bytes, randomInt(0x10000));
  const socket = connect({ host, port, noDelay: true });
  return new Promise<Buffer>((resolve, reject) => {
    onAbort(signal, reject);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`${host} closed the connection`)));
    const reader = new MessageReader((answer) => {
      if (isAnswerTo(answer, message, query.questionEnd)) resolve(answer);
    });
    socket.on("data", (bytes) => reader.push(bytes));
    socket.write(frame(message));
  }).finally(() => socket.destroy());
}

function onAbort(signal: AbortSignal, reject: (reason: unknown) => void): void {
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
}
