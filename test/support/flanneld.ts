/**
 * A real flanneld on a host of a lab. No package that the tests install carries one: FLANNELD names the programs to
 * test with, separated by colons.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { untilReady } from "./daemon.ts";
import type { Host } from "./hosts.ts";

/** The programs that FLANNELD names; empty when it is not set. */
export const FLANNELDS: readonly string[] = (process.env.FLANNELD ?? "").split(":").filter(Boolean);

export class Flanneld {
  readonly #program: string;
  readonly #host: Host;
  readonly #logFile: string;
  #child: ChildProcess | null = null;

  constructor(program: string, host: Host) {
    this.#program = program;
    this.#host = host;
    this.#logFile = join(host.runDirectory, `${basename(program)}.log`);
  }

  /** Starts it and waits until it has written subnet.env and follows the leases. */
  async start(...flags: readonly string[]): Promise<void> {
    const command = this.#host.enter("setpriv", "--pdeathsig", "KILL", this.#program, ...flags);
    const [program = "", ...args] = command;
    const log = openSync(this.#logFile, "w");
    const child = spawn(program, args, { stdio: ["ignore", log, log] });
    closeSync(log);
    this.#child = child;
    const written = (): string => readFileSync(this.#logFile, "utf8");
    await untilReady(async () => written().includes("watching for new subnet leases"), written);
  }

  /** Ends it as an administrator does; what is not running stays so. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }
}
