/** Another program that holds a port. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import type { Host } from "./hosts.ts";

/** Runs `body` while a program alone has bound the UDP port of a host. */
export async function whileHeld(host: Host, port: number, body: () => Promise<void>): Promise<void> {
  const script = `require("node:dgram").createSocket("udp4").bind(${port}, () => console.log("bound"))`;
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
