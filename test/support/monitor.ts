/** Listens to what the kernel announces, to show that nothing happened, or what did. */

import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { TestNetns } from "./netns.ts";

/** Time for `ip monitor` to subscribe, and for the last announcement to be printed. */
const SETTLE_MS = 150;

export interface Monitor {
  /** Ends it and answers every line that was announced about the device. */
  stop(): Promise<readonly string[]>;
}

/** Watches links, IPv4 addresses, routes and neighbours, and the device's forwarding entries. */
export async function watchDevice(netns: TestNetns, device: string): Promise<Monitor> {
  const monitors = [
    ["ip", "-4", "-o", "monitor", "link", "address", "route", "neigh"],
    ["bridge", "-o", "monitor", "fdb"],
  ].map((command) => {
    const child = spawn("nsenter", [`--net=${netns.path}`, ...command], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    return { child, ended, text: () => text };
  });
  await sleep(SETTLE_MS);
  return {
    stop: async () => {
      await sleep(SETTLE_MS);
      for (const { child } of monitors) child.kill("SIGINT");
      await Promise.all(monitors.map(({ ended }) => ended));
      return monitors
        .flatMap(({ text }) => text().split("\n"))
        .filter((line) => line.includes(` ${device} `) || line.includes(` ${device}:`));
    },
  };
}
