/**
 * Runs the firewall tools as child processes: asynchronous, with a deadline, in the C locale.
 *
 * Reads no rules. A child inherits this process's network namespace; `prefix` puts it into another one.
 */

import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import { FirewallError } from "./errors.ts";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Text for the standard input; nothing by default. */
  readonly input?: string;
  /** Text for a program like nft, which takes it as its last argument, or from a file. */
  readonly script?: string;
  /** Kills the child when it fires. */
  readonly signal?: AbortSignal | undefined;
}

/** linux/binfmts.h limits one argument to MAX_ARG_STRLEN: 32 pages. */
const MOST_ARGUMENT_BYTES = 100_000;

/** A child that runs longer than this is killed; it must exceed LOCK_WAIT_SECONDS. */
const TIMEOUT_MS = 40_000;

/** Where the tools are searched, regardless of the environment. */
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export class CommandRunner {
  readonly #prefix: readonly string[];
  readonly #path: string;

  /** `prefix` is put before each command, for example `["nsenter", "--net=/run/netns/host1"]`. */
  constructor(prefix: readonly string[] = [], path = SYSTEM_PATH) {
    this.#prefix = prefix;
    this.#path = path;
  }

  /**
   * Runs a program to its end and returns its output, with any exit code.
   * FirewallError: not installed or not executable (details.missing is its name), killed by a signal, or out of time.
   */
  run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const { line, input } = withScript(command, args, options);
    const [program = command, ...rest] = [...this.#prefix, ...line];
    const { signal } = options;
    return new Promise((resolve, reject) => {
      const child = spawn(program, rest, {
        stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        env: { PATH: this.#path, LC_ALL: "C" },
        timeout: TIMEOUT_MS,
      });
      // Not spawn's own option, which keeps listening forever when the program does not exist.
      const kill = (): void => void child.kill();
      const ended = (): void => signal?.removeEventListener("abort", kill);
      child.on("error", (cause) => {
        ended();
        reject(startError(command, cause));
      });
      // Without free file descriptors (EMFILE) the child has no streams, and "error" follows.
      if (child.pid === undefined) return;
      if (signal?.aborted) kill();
      signal?.addEventListener("abort", kill);
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
      child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
      child.on("close", (code, signalName) => {
        ended();
        const result = { stdout: text(stdout), stderr: text(stderr).trim() };
        if (code === null) reject(killedError(command, signalName ?? "", result.stderr));
        else if (isMissing(code, result.stderr, command)) reject(missingError(command));
        else resolve({ exitCode: code, ...result });
      });
      // A child that exits before it has read everything closes the pipe; its exit code is the answer.
      child.stdin?.on("error", () => {});
      child.stdin?.end(input);
    });
  }

  /** Runs a program that must succeed and returns its standard output. FirewallError with its message otherwise. */
  async succeed(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const result = await this.run(command, args, options);
    if (result.exitCode === 0) return result.stdout;
    throw new FirewallError(
      `${command} failed (exit code ${result.exitCode}): ${firstLines(result.stderr)}`,
      {
        details: { command, args, exitCode: result.exitCode },
        retryable: true,
      },
    );
  }

  /** As `run`, but null when the program is not installed. */
  async runIfInstalled(
    command: string,
    args: readonly string[],
    options: CommandOptions = {},
  ): Promise<CommandResult | null> {
    try {
      return await this.run(command, args, options);
    } catch (error) {
      if (error instanceof FirewallError && error.details.missing !== undefined) return null;
      throw error;
    }
  }

  /** True when the program can be started. Searches the path where possible, because starting it costs far more. */
  async isInstalled(command: string): Promise<boolean> {
    if (this.#prefix.length > 0) return (await this.runIfInstalled(command, ["--version"]))?.exitCode === 0;
    const isThere = (folder: string): Promise<boolean> =>
      access(join(folder, command), constants.X_OK).then(
        () => true,
        () => false,
      );
    return (await Promise.all(this.#path.split(":").map(isThere))).some(Boolean);
  }
}

/**
 * Two programs less than through a pipe, which a long script takes: the file is /dev/stdin, which can be opened by name
 * when it is a pipe, but not when it is the socket that Node gives a child.
 */
function withScript(
  command: string,
  args: readonly string[],
  { script, input }: CommandOptions,
): { readonly line: readonly string[]; readonly input: string | undefined } {
  if (script === undefined) return { line: [command, ...args], input };
  if (Buffer.byteLength(script) <= MOST_ARGUMENT_BYTES)
    return { line: [command, ...args, script], input: undefined };
  return { line: ["sh", "-c", 'cat | "$0" "$@"', command, ...args, "-f", "-"], input: script };
}

function text(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString("utf8");
}

function firstLines(stderr: string): string {
  return stderr.split("\n").slice(0, 3).join(" ") || "it gave no reason";
}

/** Programs that run others (`nsenter`, `env`, a shell) report an absent one by exit code 127. */
function isMissing(code: number, stderr: string, command: string): boolean {
  return code === 127 && stderr.includes(command);
}

function missingError(command: string, cause?: unknown): FirewallError {
  return new FirewallError(
    `${command} is not installed, or not executable: install it, or choose another engine with --firewall nft|iptables|none`,
    { details: { missing: command }, cause },
  );
}

function startError(command: string, cause: Error): FirewallError {
  if ("code" in cause && (cause.code === "ENOENT" || cause.code === "EACCES"))
    return missingError(command, cause);
  return new FirewallError(`${command} cannot be started: ${cause.message}`, { cause, retryable: true });
}

function killedError(command: string, signalName: string, stderr: string): FirewallError {
  return new FirewallError(`${command} was killed by ${signalName}: ${firstLines(stderr)}`, {
    retryable: true,
  });
}
