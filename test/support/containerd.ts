/**
 * containerd with its Kubernetes runtime interface (CRI) on a CNI host, and a client of that interface, which is what
 * a kubelet is to it.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { credentials, loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { runTool } from "../../agent/demo/namespace.ts";
import { fetchPackage } from "../../deploy/verify/foreign-packages.mjs";
import { removeCgroups } from "./cgroups.ts";
import type { AnyJson, CniHost } from "./cni-host.ts";
import { type Daemon, startDaemon, untilReady } from "./daemon.ts";
import { createImage } from "./docker.ts";
import { describeOnEngines, type EngineSystem, type Engines } from "./engines.ts";
import { describeWithEtcd } from "./hosts.ts";
import { unmountBelow } from "./mounts.ts";

const PROGRAMS = ["containerd", "ctr", "runc", "busybox"];
const IMAGE = "localhost/pause:1";
const DEADLINE_MS = 60_000;
/** containerd 2 has more conditions, such as one that its configuration is not deprecated. */
const READY = ["RuntimeReady", "NetworkReady"];

/** As describeWithEtcd, for this machine's containerd and the newest; skipped, visibly, where there is none, unless CI is set. */
export function describeWithContainerd(name: string, body: (engines: Engines) => void): void {
  describeOnEngines(PROGRAMS, name, describeWithEtcd, body);
}

/** As the interface names it; TCP. */
export interface PortMapping {
  readonly container_port: number;
  readonly host_port: number;
}

export interface InspectedPod {
  readonly address: string;
  /** As containerd knows it. */
  readonly netnsPath: string;
  /** The same for programs of this machine. */
  readonly reachablePath: string;
}

export class ContainerdHost {
  readonly #system: EngineSystem;
  readonly #dir: string;
  readonly #cgroup: string;
  readonly #runtime: AnyJson;
  #daemon: Daemon;

  private constructor(host: CniHost, confDir: string, engines: Engines) {
    this.#system = engines.open(host.enginePlace);
    this.#dir = join(host.dir, "containerd");
    this.#cgroup = host.netns.name;
    mkdirSync(this.#dir);
    const criOf = engines.isNewest ? criOfVersion2 : criOfVersion1;
    writeFileSync(this.#configFile, configOf(this.#dir, criOf(host.pluginDir, confDir)));
    this.#daemon = this.#startDaemon();
    this.#runtime = runtimeClient(this.#socket, this.#dir);
  }

  /** Starts containerd and gives it the image of sandboxes. */
  static async start(host: CniHost, confDir: string, engines: Engines): Promise<ContainerdHost> {
    const containerd = new ContainerdHost(host, confDir, engines);
    await containerd.#untilReady();
    const archive = pauseArchive(containerd.#dir);
    containerd.run("ctr", "-a", containerd.#socket, "-n", "k8s.io", "images", "import", archive);
    return containerd;
  }

  /** Runs a program in the system that containerd runs in; throws with its words. */
  run(...command: readonly string[]): string {
    const [program = "", ...args] = this.#system.enter(...command);
    return runTool(program, args);
  }

  /** Kills the daemon and starts it again; pods go on. */
  async restart(): Promise<void> {
    await this.#daemon.kill();
    this.#daemon = this.#startDaemon();
    await this.#untilReady();
  }

  /** Calls a method of the RuntimeService. Rejects with containerd's words. */
  call(method: string, request: AnyJson): Promise<AnyJson> {
    return new Promise((resolve, reject) => {
      const deadline = { deadline: Date.now() + DEADLINE_MS };
      this.#runtime[method](request, deadline, (error: Error | null, answer: AnyJson) =>
        error === null ? resolve(answer) : reject(error),
      );
    });
  }

  /** Makes a pod without containers, with ports published if any, and answers its id. */
  async runPod(name: string, ports: readonly PortMapping[] = []): Promise<string> {
    const config = {
      metadata: { name, uid: name, namespace: "default", attempt: 0 },
      log_directory: this.#dir,
      linux: { cgroup_parent: `/${this.#cgroup}` },
      port_mappings: ports,
    };
    return (await this.call("RunPodSandbox", { config })).pod_sandbox_id;
  }

  /** Address and network namespace of a pod. */
  async inspectPod(id: string): Promise<InspectedPod> {
    const { status, info } = await this.call("PodSandboxStatus", { pod_sandbox_id: id, verbose: true });
    const { runtimeSpec } = JSON.parse(info.info);
    const netns = runtimeSpec.linux.namespaces.find(({ type }: AnyJson) => type === "network");
    const { path: netnsPath } = netns;
    return { address: status.network.ip, netnsPath, reachablePath: this.#system.pathOf(netnsPath) };
  }

  async removePod(id: string): Promise<void> {
    await this.call("StopPodSandbox", { pod_sandbox_id: id });
    await this.call("RemovePodSandbox", { pod_sandbox_id: id });
  }

  /** Whatever a test has broken, no process, mount or control group stays. Throws when a pod cannot be removed. */
  async dispose(): Promise<void> {
    try {
      for (const { id } of (await this.call("ListPodSandbox", {})).items) await this.removePod(id);
    } finally {
      this.#runtime.close();
      await this.#daemon.kill();
      this.#system.dispose();
      removeCgroups(this.#cgroup);
      unmountBelow(this.#dir);
    }
  }

  #startDaemon(): Daemon {
    const [program = "", ...args] = this.#system.enter("containerd", "--config", this.#configFile);
    return startDaemon(program, args);
  }

  async #untilReady(): Promise<void> {
    await untilReady(
      async () => {
        const { conditions } = (await this.call("Status", {})).status;
        return READY.every((type) =>
          conditions.some((condition: AnyJson) => condition.type === type && condition.status),
        );
      },
      () => this.#daemon.output,
    );
  }

  get #configFile(): string {
    return join(this.#dir, "config.toml");
  }

  get #socket(): string {
    return join(this.#dir, "containerd.sock");
  }
}

/** What a machine without CAP_SYS_RESOURCE needs; everything else is kept in `dir`. */
function configOf(dir: string, cri: string): string {
  return `root = "${dir}/root"
state = "${dir}/state"
${cri}
[grpc]
  address = "${dir}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${dir}/opt"
`;
}

/** The interface to Kubernetes in containerd 1. */
function criOfVersion1(binDir: string, confDir: string): string {
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${binDir}"
    conf_dir = "${confDir}"`;
}

/** The same in containerd 2, which converts the old form but for the snapshotter. */
function criOfVersion2(binDir: string, confDir: string): string {
  return `version = 3
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "${IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["${binDir}"]
    conf_dir = "${confDir}"`;
}

/** The interface's description, without the options that only Go's code generator knows. */
function runtimeClient(socket: string, dir: string): AnyJson {
  const folder = fetchPackage("trixie", "golang-github-kubernetes-cri-api-dev");
  const source = join(folder, "usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto");
  const text = readFileSync(source, "utf8").replace(/^(import|option) .*gogo.*$/gm, "");
  const file = join(dir, "api.proto");
  writeFileSync(file, text);
  const { runtime } = loadPackageDefinition(loadSync(file, { keepCase: true, defaults: true })) as AnyJson;
  return new runtime.v1.RuntimeService(`unix://${socket}`, credentials.createInsecure());
}

/** An image in docker's archive format (moby's image specification 1.2) whose only process sleeps. */
function pauseArchive(dir: string): string {
  const layer = createImage(dir);
  const digest = createHash("sha256").update(readFileSync(layer)).digest("hex");
  const config = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: { Entrypoint: ["/bin/sleep", "100000"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
  });
  writeFileSync(join(dir, "config.json"), config);
  const manifest = [{ Config: "config.json", RepoTags: [IMAGE], Layers: ["box.tar"] }];
  writeFileSync(join(dir, "manifest.json"), JSON.stringify(manifest));
  const archive = join(dir, "pause.tar");
  execFileSync("tar", ["-cf", archive, "-C", dir, "manifest.json", "config.json", "box.tar"]);
  return archive;
}
