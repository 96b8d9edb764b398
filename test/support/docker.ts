/**
 * A real dockerd on a host of a lab: with its own data, its own configuration file and a busybox image.
 *
 * Whatever a test does, neither process nor mount nor control group stays when it exits.
 */

import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { endPrograms, runTool } from "../../agent/demo/namespace.ts";
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
/** It waits about 30 s for each network whose plugin does not answer. */
const START_MS = 90_000;

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
  readonly #openSystem: () => EngineSystem;
  #system: EngineSystem;
  readonly #directory: string;
  readonly #cgroup: string;
  #daemon: Daemon | null = null;
  /** Stays in the mount namespace of the first dockerd. */
  #place: Daemon | null = null;
  #hasImage = false;

  constructor(host: Host, engines: Engines) {
    this.host = host;
    const { netns, runDirectory } = host;
    const enter = (...command: readonly string[]) => host.enter(...command);
    this.#openSystem = () => engines.open({ netns, runDirectory, enter });
    this.#system = this.#openSystem();
    this.#directory = join(host.stateDirectory, "../docker");
    this.#cgroup = host.netns.name;
    this.configFile = join(this.#directory, "daemon.json");
    mkdirSync(this.#directory, { recursive: true });
    writeFileSync(this.configFile, "{}\n");
    disposeAtExit(this);
  }

  /** Starts dockerd and waits until it answers. */
  async start(image: string, ...flags: readonly string[]): Promise<void> {
    const [program = "", ...args] = this.#enterPlace(
      ...["dockerd", `--config-file=${this.configFile}`, `--data-root=${this.#directory}/data`],
      ...["--exec-root=/run/docker", "--pidfile=/run/docker.pid", "-H", SOCKET],
      ...[`--cgroup-parent=/${this.#cgroup}`, ...flags],
    );
    const daemon = startDaemon(program, args);
    this.#daemon = daemon;
    await untilReady(
      async () => daemon.pid === null || (await this.#answers()),
      () => daemon.output,
      START_MS,
    );
    if (daemon.pid === null) throw new Error(`dockerd ended: ${daemon.output}`);
    const here = ["--target", `${daemon.pid}`, "--mount", "sleep", "infinity"];
    this.#place ??= startDaemon("nsenter", here);
    if (!this.#hasImage) this.docker("import", "-c", 'CMD ["/bin/sh"]', image, IMAGE);
    this.#hasImage = true;
  }

  /** A second dockerd finds the containers' namespaces, which are mounts, only where the first one made them. */
  #enterPlace(...command: readonly string[]): readonly string[] {
    const pid = this.#place?.pid ?? null;
    if (pid === null) return this.#system.enter(...command);
    return ["nsenter", `--target=${pid}`, "--mount", `--net=${this.host.netns.path}`, ...command];
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

  /** Kills dockerd, as a crash would, and waits for the end of the containerd that goes with it. */
  async kill(): Promise<void> {
    const pid = readFileSync(join(this.host.runDirectory, "docker/containerd/containerd.pid"), "utf8").trim();
    await this.#daemon?.kill();
    await untilReady(
      async () => !existsSync(`/proc/${pid}`),
      () => `containerd ${pid} does not end`,
    );
  }

  /** Of the running dockerd, else null. */
  get pid(): number | null {
    return this.#daemon?.pid ?? null;
  }

  /** Of the containers' control groups: the last part of their folders' path. */
  get cgroup(): string {
    return this.#cgroup;
  }

  /**
   * Kills every program of the host and every container, as a power failure would; what they made in the kernel outside
   * of their own namespaces stays. The next start is one of a new system on the same disk.
   */
  async crash(): Promise<void> {
    endPrograms(this.host.netns.path);
    removeCgroups(this.#cgroup);
    await this.#place?.kill();
    this.#place = null;
    this.#system.dispose();
    await untilReady(
      async () => this.pid === null && this.host.daemon.pid === null,
      () => "the programs of the host do not end",
    );
    this.#system = this.#openSystem();
  }

  /** Runs the docker command without blocking; also one that fails, with what it printed to both streams. */
  attempt(...args: readonly string[]): Promise<{ readonly ok: boolean; readonly text: string }> {
    const command = this.#system.enter("timeout", COMMAND_SECONDS, "docker", "-H", SOCKET, ...args);
    const [program = "", ...rest] = command;
    return new Promise((resolve) => {
      execFile(program, rest, { maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
        resolve({ ok: error === null, text: error === null ? stdout.trim() : `${stdout}${stderr}`.trim() });
      });
    });
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
    void this.#place?.kill();
    this.#system.dispose();
    removeCgroups(this.#cgroup);
  }
}
