/** Starts the page of a network that exists nowhere (page-process.ts) in a network namespace. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { type Bundle, bundle } from "./bundle.ts";
import type { TestNetns } from "./netns.ts";
import type { PageScene, PageUsage } from "./page-process.ts";

const FOLDER = join(process.env.TULLE_DIST ?? join(import.meta.dirname, "../../dist"), "lib/page");

export class RunningScene {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;
  readonly #program: Bundle;

  private constructor(child: ChildProcess, lines: Interface, program: Bundle) {
    this.#child = child;
    this.#lines = lines;
    this.#answers = lines[Symbol.asyncIterator]();
    this.#program = program;
  }

  /** Waits until it listens. */
  static async start(
    netns: Pick<TestNetns, "path">,
    scene: Partial<PageScene> & { hosts: number },
    sources?: string,
  ): Promise<RunningScene> {
    const whole: PageScene = {
      ...{ changes: 20, broken: 0, address: "127.0.0.1", port: 8080, tokenFile: null },
      ...{ reported: [], domain: null },
      ...{ folder: FOLDER, isWatched: false, ...scene },
    };
    const program = await bundle("page-process.ts", sources);
    const enter = ["--pdeathsig", "KILL", "nsenter", `--net=${netns.path}`];
    const child = spawn("setpriv", [...enter, process.execPath, program.path, JSON.stringify(whole)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout });
    const running = new RunningScene(child, lines, program);
    if ((await running.#line()) !== "ready") throw new Error("the page did not start");
    return running;
  }

  /** Such as SIGSTOP: then it hangs. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async usage(): Promise<PageUsage> {
    this.#child.kill("SIGUSR1");
    return JSON.parse(await this.#line()) as PageUsage;
  }

  async stop(): Promise<void> {
    const isGone = this.#child.exitCode === null ? once(this.#child, "exit") : null;
    this.#child.kill("SIGKILL");
    await isGone;
    this.#lines.close();
    this.#program.dispose();
  }

  async #line(): Promise<string> {
    const { value } = await this.#answers.next();
    if (typeof value !== "string") throw new Error("the page's process has ended");
    return value;
  }
}
