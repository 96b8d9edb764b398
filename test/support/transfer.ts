/** Random bytes over TCP from one namespace to another, in writes of random sizes; compared by SHA-256. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Namespace } from "../../agent/demo/namespace.ts";

const PORT = 5998;

const RECEIVE = `
  const hash = require("node:crypto").createHash("sha256");
  require("node:net").createServer((socket) => {
    socket.on("data", (data) => hash.update(data));
    socket.on("end", () => { console.log(hash.digest("hex")); process.exit(0); });
  }).listen(${PORT}, () => console.log("ready"));`;

const SEND = `
  const { createHash, randomBytes } = require("node:crypto");
  const [target, megabytes] = process.argv.slice(1);
  const hash = createHash("sha256");
  const socket = require("node:net").connect(${PORT}, target);
  let left = Number(megabytes) * 1e6;
  const pump = () => {
    while (left > 0) {
      const block = randomBytes(Math.min(left, 1 + Math.floor(Math.random() * 200000)));
      hash.update(block);
      left -= block.length;
      if (!socket.write(block)) return socket.once("drain", pump);
    }
    socket.end(() => console.log(hash.digest("hex")));
  };
  pump();`;

export interface Transfer {
  readonly sent: string;
  readonly received: string;
}

/** Transfers so many megabytes to a server at `address` and answers the digests of both ends. */
export async function transfer(
  from: Namespace,
  to: Namespace,
  address: string,
  megabytes: number,
): Promise<Transfer> {
  const receiver = run(to, RECEIVE);
  await receiver.line();
  // Either may come first.
  const received = receiver.line();
  const sender = run(from, SEND, address, String(megabytes));
  return { sent: await sender.line(), received: await received };
}

function run(netns: Namespace, program: string, ...args: readonly string[]) {
  const command = [`--net=${netns.path}`, process.execPath, "-e", program, ...args];
  const child = spawn("nsenter", command, { stdio: ["ignore", "pipe", "inherit"] });
  return {
    line: async () => {
      const [chunk] = (await once(child.stdout, "data")) as [Buffer];
      return String(chunk).trim();
    },
  };
}
