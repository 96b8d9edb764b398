/**
 * Real servers as children of a test: started, hung, killed and never left behind.
 *
 * A server dies with the test process, also when that is killed, because the kernel is told to end it then
 * (prctl(2), PR_SET_PDEATHSIG). Knows no particular server.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { TestNetns } from "./netns.ts";

export interface Daemon {
  /** Null while it is not running. */
  readonly pid: number | null;
  /** What it wrote last, for the message of a test that fails. */
  readonly output: string;
  /** Hangs it: it keeps its connections and, from when this resolves, answers nothing. */
  pause(): Promise<void>;
  resume(): void;
  /** Ends it with SIGKILL and waits until it is gone; what is not running stays so. */
  kill(): Promise<void>;
}

export interface DaemonOptions {
  /** Where to run; the machine's own namespace, on loopback, when absent. */
  readonly netns?: TestNetns | undefined;
  readonly env?: Readonly<Record<string, string>>;
}

const KEPT_OUTPUT = 16_384;

/** Starts `command` as a child that ends no later than this process. */
export function startDaemon(command: string, args: readonly string[], options: DaemonOptions = {}): Daemon {
  const enter = options.netns ? ["nsenter", `--net=${options.netns.path}`] : [];
  const [program = "", ...rest] = [...enter, "setpriv", "--pdeathsig", "KILL", command, ...args];
  const child = spawn(program, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
  });
  let output = "";
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-KEPT_OUTPUT);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.on("error", (error) => keep(Buffer.from(String(error))));
  return {
    get pid() {
      return isRunning(child) ? (child.pid ?? null) : null;
    },
    get output() {
      return output;
    },
    pause: async () => {
      child.kill("SIGSTOP");
      await untilReady(
        async () => isStopped(child),
        () => `${command} did not stop`,
      );
    },
    resume: () => void child.kill("SIGCONT"),
    kill: async () => {
      if (!isRunning(child)) return;
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    },
  };
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/**
 * Whether every thread has stopped. SIGSTOP reaches a thread when it is next interrupted: one that waits for the disk
 * or runs on another processor may still send an answer after kill(2) has returned.
 */
function isStopped({ pid }: ChildProcess): boolean {
  return readdirSync(`/proc/${pid}/task`).every((thread) =>
    // proc_pid_stat(5): the state follows the name, which may hold spaces and parentheses itself.
    / T [^)]*$/.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8")),
  );
}

/** `count` TCP ports of the loopback address that were free a moment ago. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once("listening", resolve))));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Asks `isReady` until it says yes. Throws with `describe()` when it does not within `timeoutMs`. */
export async function untilReady(
  isReady: () => Promise<boolean>,
  describe: () => string,
  timeoutMs = 30_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isReady().catch(() => false))) {
    if (performance.now() > endMs) throw new Error(`not ready in ${timeoutMs} ms: ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
