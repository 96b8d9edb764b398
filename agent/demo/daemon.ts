/**
 * tulled as a process on a host of the lab: started, asked, stopped and killed.
 *
 * It ends with the process that started it.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TulleError } from "../../ipam/errors.ts";
import { askStatus } from "../report/ask-status.ts";
import type { StatusReport } from "../report/status.ts";

export interface DaemonOptions {
  /** The command without the flags of a particular start. */
  readonly command: readonly string[];
  /** What it sees as /run. */
  readonly runDirectory: string;
  readonly logFile: string;
  /** How long it may take to reach a state. */
  readonly patienceMs?: number;
}

/** Long enough for a loaded machine with two cores. */
const DEFAULT_PATIENCE_MS = 30_000;
const POLL_MS = 20;

export class Daemon {
  readonly logFile: string;
  readonly #command: readonly string[];
  readonly #controlDirectory: string;
  readonly #patienceMs: number;
  #child: ChildProcess | null = null;

  constructor({ command, runDirectory, logFile, patienceMs = DEFAULT_PATIENCE_MS }: DaemonOptions) {
    this.#patienceMs = patienceMs;
    this.#command = command;
    this.#controlDirectory = join(runDirectory, "tulle");
    this.logFile = logFile;
  }

  /** Of the running process, else null. */
  get pid(): number | null {
    return this.#child !== null && isRunning(this.#child) ? (this.#child.pid ?? null) : null;
  }

  /** Everything it wrote since its first start. */
  get log(): string {
    return readFileSync(this.logFile, "utf8");
  }

  /** Starts it and does not wait. */
  spawn(...flags: readonly string[]): void {
    if (this.pid !== null) throw new Error("this daemon runs already");
    const [program = "", ...args] = [...this.#command, ...flags];
    const log = openSync(this.logFile, "a");
    this.#child = spawn(program, args, { stdio: ["ignore", log, log] });
    closeSync(log);
  }

  /** Starts it and waits until packets can flow. */
  async start(...flags: readonly string[]): Promise<StatusReport> {
    this.spawn(...flags);
    return await this.until((status) => status.isReady, "is ready");
  }

  /** Its status; null while it does not answer or has not joined a network. */
  async status(): Promise<StatusReport | null> {
    try {
      return await askStatus(this.#controlDirectory, AbortSignal.timeout(5_000));
    } catch (error) {
      if (error instanceof TulleError && error.code === "TULLE_CONTROL") return null;
      throw error;
    }
  }

  /** Waits for a status. Throws with the end of the log when the process ends or its time is up. */
  async until(isReached: (status: StatusReport) => boolean, description: string): Promise<StatusReport> {
    const endMs = performance.now() + this.#patienceMs;
    for (;;) {
      const status = await this.status();
      if (status !== null && isReached(status)) return status;
      if (this.pid === null) throw new Error(`tulled ended before it ${description}:\n${this.#logEnd()}`);
      if (performance.now() > endMs)
        throw new Error(`tulled did not reach the state: ${description}:\n${this.#logEnd()}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Asks it to stop and returns its exit code. */
  stop(): Promise<number | null> {
    return this.#end("SIGTERM");
  }

  /** Kills it, as a crash would. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Waits for its end and returns its exit code; null when a signal ended it. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    if (child === null) throw new Error("this daemon was never started");
    if (isRunning(child)) await new Promise((resolve) => child.once("exit", resolve));
    return child.exitCode;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child?.kill(signal);
    return await this.ended();
  }

  #logEnd(): string {
    return this.log.split("\n").slice(-15).join("\n");
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}
