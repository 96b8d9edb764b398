/** Records what a program shows on a terminal. */

import { spawn } from "node:child_process";

/**
 * Runs a command on a terminal of its own (script(1), from util-linux) of `columns` characters per line. Returns what it
 * wrote, as `{ atMs, text }` in the order of time. Throws when it fails.
 */
export async function record(command, { columns, cwd }) {
  const inTerminal = `stty cols ${columns} && exec ${command}`;
  const child = spawn("script", ["--quiet", "--flush", "--return", "--command", inTerminal, "/dev/null"], {
    cwd,
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      TERM: "xterm-256color",
      SHELL: "/bin/sh",
      LC_ALL: "C.UTF-8",
    },
  });
  const startMs = performance.now();
  const chunks = [];
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text) => chunks.push({ atMs: performance.now() - startMs, text }));
  const status = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (status !== 0)
    throw new Error(`${command}: exit code ${status}: ${chunks.map(({ text }) => text).join("")}`);
  return chunks;
}
