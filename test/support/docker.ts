/**
 * A real dockerd on a host of a lab: with its own data, its own configuration file and a busybox image.
 *
 * Whatever a test does, neither process nor mount nor control group stays when it exits.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { runTool } from "../../agent/demo/namespace.ts";
import { removeCgroups } from "./cgroups.ts";
import { type Daemon, startDaemon, untilReady } from "./daemon.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { describeOnEngines, type EngineSystem, type Engines } from "./engines.ts";
import type { Host } from "./hosts.ts";
import { describeAsRoot } from "./netns.ts";

const IMAGE = "box";
/** A docker command that takes longer hangs. */
const COMMAND_SECONDS = "30";
const SOCKET = "unix:///run/docker.sock";

/** As describeAsRoot, for this machine's Docker and the newest; skipped, visibly, where there is none, unless CI is set. */
export function describeWithDocker(name: string, body: (engines: Engines) => void): void {
  describeOnEngines(["dockerd", "docker", "busybox"], name, describeAsRoot, body);
}

/** Makes the image's root file system: busybox under all its names. Returns the archive. */
export function createImage(directory: string): string {
  const root = join(directory, "rootfs");
  for (const folder of ["bin", "www", "tmp"]) mkdirSync(join(root, folder), { recursive: true });
  execFileSync("cp", ["/bin/busybox", join(root, "bin/busybox")]);
  const names = execFileSync("busybox", ["--list"], { encoding: "utf8" }).split("\n").filter(Boolean);
  for (const name of names) if (name !== "busybox") symlinkSync("busybox", join(root, "bin", name));
  const archive = join(directory, "box.tar");
  execFileSync("tar", ["--create", "--file", archive, "--directory", root, "."]);
  return archive;
}

export interface RunOptions {
  readonly options?: readonly string[];
  readonly command: readonly string[];
}

export class DockerHost {
  readonly host: Host;
  readonly configFile: string;
  readonly #system: EngineSystem;
  readonly #directory: string;
  readonly #cgroup: string;
  #daemon: Daemon | null = null;
  #hasImage = false;

  constructor(host: Host, engines: Engines) {
    this.host = host;
    this.#system = engines.open({
      netns: host.netns,
      runDirectory: host.runDirectory,
      enter: (...command) => host.enter(...command),
    });
    this.#directory = join(host.stateDirectory, "../docker");
    this.#cgroup = host.netns.name;
    this.configFile = join(this.#directory, "daemon.json");
    mkdirSync(this.#directory, { recursive: true });
    writeFileSync(this.configFile, "{}\n");
    disposeAtExit(this);
  }

  /** Starts dockerd and waits until it answers. */
  async start(image: string, ...flags: readonly string[]): Promise<void> {
    const [program = "", ...args] = this.#system.enter(
      ...["dockerd", `--config-file=${this.configFile}`, `--data-root=${this.#directory}/data`],
      ...["--exec-root=/run/docker", "--pidfile=/run/docker.pid", "-H", SOCKET],
      ...[`--cgroup-parent=/${this.#cgroup}`, ...flags],
    );
    const daemon = startDaemon(program, args);
    this.#daemon = daemon;
    await untilReady(
      async () => daemon.pid === null || (await this.#answers()),
      () => daemon.output,
    );
    if (daemon.pid === null) throw new Error(`dockerd ended: ${daemon.output}`);
    if (!this.#hasImage) this.docker("import", "-c", 'CMD ["/bin/sh"]', image, IMAGE);
    this.#hasImage = true;
  }

  /** GET /_ping of the Engine API. */
  #answers(): Promise<boolean> {
    const socketPath = join(this.host.runDirectory, "docker.sock");
    return new Promise((resolve, reject) => {
      const request = get({ socketPath, path: "/_ping", timeout: 2000 }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on("timeout", () => request.destroy(new Error("no answer")));
      request.on("error", reject);
    });
  }

  /** Asks dockerd to end and waits; its containers end with it. */
  async stop(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon?.pid != null) process.kill(daemon.pid, "SIGTERM");
    await untilReady(
      async () => daemon?.pid == null,
      () => daemon?.output ?? "",
    );
  }

  /** Runs a program in the system that Docker runs in, and returns its standard output; throws with its words. */
  run(...command: readonly string[]): string {
    const [program = "", ...args] = this.#system.enter(...command);
    return runTool(program, args);
  }

  /** Runs the docker command and answers what it printed, trimmed. */
  docker(...args: readonly string[]): string {
    return this.run("timeout", COMMAND_SECONDS, "docker", "-H", SOCKET, ...args).trim();
  }

  /** Starts a container in the background. */
  runContainer(name: string, { options = [], command }: RunOptions): void {
    this.docker("run", "--detach", "--name", name, ...options, IMAGE, ...command);
  }

  exec(container: string, ...command: readonly string[]): string {
    return this.docker("exec", container, ...command);
  }

  /** What the container has written, to both streams. */
  logs(container: string): string {
    return this.run("sh", "-c", `docker -H ${SOCKET} logs "$0" 2>&1`, container);
  }

  addressOf(container: string): string {
    return this.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", container);
  }

  /** Ends daemon and containers at once. */
  dispose(): void {
    void this.#daemon?.kill();
    this.#system.dispose();
    removeCgroups(this.#cgroup);
  }
}
