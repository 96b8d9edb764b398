/**
 * Runs an administrator's command: by the shell, in a process group of its own, with a time limit and bounded output.
 *
 * Values of leases reach it in variables and on its standard input only, so the shell never reads them as words of the
 * command (docs/adr/0013-extension-commands.md).
 */

import { spawn } from "node:child_process";
import { ExtensionError } from "./errors.ts";

export interface CommandRequest {
  /** As written in the network configuration. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Its standard input. */
  readonly input: string;
  readonly timeoutMs: number;
  /** Bytes of standard output that are kept; what follows is read and dropped. */
  readonly outputLimit: number;
  /** Ends the command. */
  readonly signal: AbortSignal;
}

export interface CommandOutput {
  readonly stdout: string;
  /** True when more was printed than was kept. */
  readonly isTruncated: boolean;
}

const SHELL = "/bin/sh";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** For the last output of a command that has ended. */
const LINGER_MS = 200;
/** Of standard error, for the message. */
const ERROR_LIMIT = 2048;

/** Runs it to its end. Rejects with ExtensionError when it fails, is out of time or cannot be started. */
export function runCommand(request: CommandRequest): Promise<CommandOutput> {
  const { command, environment, input, timeoutMs, outputLimit, signal } = request;
  return new Promise((resolve, reject) => {
    const child = spawn(SHELL, ["-c", command], {
      detached: true, // its own process group: what the command starts is ended with it
      stdio: "pipe",
      env: { PATH, ...environment },
    });
    let end: string | null = null;
    const kill = (reason: string): void => {
      end ??= reason;
      if (child.pid !== undefined) killGroup(child.pid);
    };
    const aborted = (): void => kill("was ended because tulled stops or no longer needs it");
    const timer = setTimeout(() => kill(`ran longer than ${timeoutMs / 1000} s and was ended`), timeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
    };
    child.on("error", (cause) => {
      settle();
      reject(new ExtensionError(`${SHELL} cannot be started: ${cause.message}`, { cause, retryable: true }));
    });
    if (child.pid === undefined) return;
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted);
    const stdout = new BoundedText(outputLimit);
    const stderr = new BoundedText(ERROR_LIMIT);
    child.stdout.on("data", (chunk: Buffer) => stdout.add(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.add(chunk));
    // The command has ended with its shell, but a program in the background may hold the pipes open.
    child.on("exit", () => {
      const closing = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, LINGER_MS);
      child.on("close", () => clearTimeout(closing));
    });
    child.on("close", (code, signalName) => {
      settle();
      const failure = end ?? failureOf(code, signalName);
      if (failure === null) resolve({ stdout: stdout.text, isTruncated: stdout.isTruncated });
      else reject(new ExtensionError(`it ${failure}${saying(stderr.text)}`, { retryable: true }));
    });
    // A command that does not read its input closes the pipe.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function failureOf(code: number | null, signalName: string | null): string | null {
  if (code === 0) return null;
  if (code === 127) return "failed with exit code 127: a program in it is not installed";
  if (code === 126) return "failed with exit code 126: a program in it is not executable";
  return code === null ? `was killed by ${signalName}` : `failed with exit code ${code}`;
}

function saying(stderr: string): string {
  const lines = stderr.trim().split("\n").slice(0, 3).join(" ");
  return lines === "" ? "" : `: ${lines}`;
}

/** The first bytes of a stream. */
class BoundedText {
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  isTruncated = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(chunk: Buffer): void {
    const room = this.#limit - this.#size;
    if (chunk.length > room) this.isTruncated = true;
    if (room <= 0) return;
    this.#chunks.push(chunk.subarray(0, room));
    this.#size += Math.min(chunk.length, room);
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}
