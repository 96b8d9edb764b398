import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { expect, it } from "vitest";
import { findProgram, holderOfSocket } from "../../../../agent/host/other-programs.ts";

const ownName = readFileSync("/proc/self/comm", "utf8").trim();

it("finds a program of this network namespace by its name, and none that is not there", () => {
  expect(findProgram(ownName)).toBeGreaterThan(0);
  expect(findProgram("no-such-program")).toBeNull();
});

it("finds who holds a socket", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const sockets = readdirSync("/proc/self/fd").flatMap((descriptor) => socketOf(descriptor) ?? []);
    for (const inode of sockets) expect(holderOfSocket(inode)).not.toBeNull();
    expect(sockets.map((inode) => holderOfSocket(inode))).toContain(`${ownName} (process ${process.pid})`);
  } finally {
    server.close();
  }
  expect(holderOfSocket(0)).toBeNull();
});

function socketOf(descriptor: string): number | null {
  try {
    const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${descriptor}`));
    return match ? Number(match[1]) : null;
  } catch {
    return null; // the descriptor that listed the folder
  }
}
