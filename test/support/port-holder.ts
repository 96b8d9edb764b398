/** Another program that holds a port. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Host } from "./hosts.ts";

const SCRIPTS = {
  udp: (port: number) =>
    `require("node:dgram").createSocket("udp4").bind(${port}, () => console.log("bound"))`,
  tcp: (port: number) => `require("node:net").createServer().listen(${port}, () => console.log("bound"))`,
};

/** Runs `body` while a program alone has bound the port of a host. */
export async function whileHeld(
  host: Host,
  port: number,
  body: () => Promise<void>,
  transport: keyof typeof SCRIPTS = "udp",
): Promise<void> {
  const script = SCRIPTS[transport](port);
  const [program = "", ...args] = host.enter(process.execPath, "-e", script);
  const holder: ChildProcess = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  const end = once(holder, "exit");
  try {
    await once(holder.stdout as NodeJS.ReadableStream, "data");
    await body();
  } finally {
    holder.kill();
    await end;
  }
}
