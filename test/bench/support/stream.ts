/** One TCP stream from a namespace to another, by two processes of Node that do nothing else. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Namespace } from "../../../agent/demo/namespace.ts";

const PORT = 5999;

/** Prints the bytes received between the first and the last one, and the seconds between them. */
const RECEIVE = `
  const seconds = () => Number(process.hrtime.bigint()) / 1e9;
  let bytes = 0, first = 0;
  const callback = (length) => {
    first ||= seconds();
    bytes += length;
    return true;
  };
  const onread = { buffer: Buffer.alloc(1 << 20), callback };
  require("node:net")
    .connect({ host: process.argv[1], port: ${PORT}, onread })
    .on("close", () => console.log(JSON.stringify({ bytes, seconds: seconds() - first })));
`;

/** Sends to the first that connects, for so many seconds. */
const SEND = `
  const block = Buffer.alloc(1 << 20, "tulle");
  require("node:net").createServer((socket) => {
    const end = Date.now() + Number(process.argv[1]) * 1000;
    const pump = () => {
      while (Date.now() < end) if (!socket.write(block)) return socket.once("drain", pump);
      socket.end(() => process.exit(0));
    };
    pump();
  }).listen(${PORT}, "0.0.0.0", () => console.log("ready"));
`;

/** Gbit/s of payload. */
export async function measureStream(
  from: { readonly netns: Namespace; readonly address: string },
  to: { readonly netns: Namespace },
  seconds: number,
): Promise<number> {
  const sender = start(from.netns, SEND, String(seconds));
  await firstLine(sender);
  const receiver = start(to.netns, RECEIVE, from.address);
  const answer = JSON.parse(await firstLine(receiver)) as { bytes: number; seconds: number };
  if (sender.exitCode === null) await once(sender, "exit");
  return (answer.bytes * 8) / answer.seconds / 1e9;
}

function start(netns: Namespace, program: string, argument: string): ChildProcess {
  const command = [`--net=${netns.path}`, process.execPath, "-e", program, argument];
  return spawn("nsenter", command, { stdio: ["ignore", "pipe", "inherit"] });
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [chunk] = (await once(child.stdout as NodeJS.EventEmitter, "data")) as [Buffer];
  return String(chunk);
}
