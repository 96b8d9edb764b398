/** Whether the name server answers on this host. */

import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { HEADER_BYTES, isErrorFor, RCODE } from "./message.ts";
import { DNS_PORT, NAME_SERVER } from "./name-server-address.ts";

/** RFC 1035 §4.1.1. The name server answers it with NOTIMP, without a look at its networks or another server. */
const OPCODE_STATUS = 2;
/** Datagrams on the loopback interface get lost only when a queue is full. */
const WAIT_MS = 500;

/** True when it answers within half a second. Never rejects. */
export async function isNameServerThere(): Promise<boolean> {
  return isOwnAddress() && (await answers());
}

/** Without the address, the query would leave for the default gateway. */
function isOwnAddress(): boolean {
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === NAME_SERVER.toString()),
  );
}

function answers(): Promise<boolean> {
  const id = randomInt(0x10000);
  const query = Buffer.alloc(HEADER_BYTES);
  query.writeUInt16BE(id, 0);
  query.writeUInt16BE(OPCODE_STATUS << 11, 2);
  const socket = createSocket("udp4");
  return new Promise<boolean>((resolve) => {
    setTimeout(() => resolve(false), WAIT_MS).unref();
    // ECONNREFUSED: nothing listens.
    socket.on("error", () => resolve(false));
    socket.on("message", (answer) => resolve(isErrorFor(answer, id, RCODE.notImplemented)));
    socket.connect(DNS_PORT, NAME_SERVER.toString(), () => socket.send(query));
  }).finally(() => socket.close());
}
