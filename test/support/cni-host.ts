/**
 * A host for tests of the CNI plugin: a network namespace with a folder of its own, and containers that are
 * namespaces beside it. Programs run as a container runtime would run them.
 *
 *     const host = new CniHost("add");
 *     const answer = host.call("ADD", { container: host.addContainer() });
 *     expect(answer.exitCode).toBe(0);
 */

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { JsonObject } from "../../ipam/json.ts";
import type { EnginePlace } from "./engines.ts";
import { PROGRAMS } from "./hosts.ts";
import { createNetns, type TestNetns } from "./netns.ts";

export interface CniContainer {
  readonly id: string;
  readonly netns: TestNetns;
}

export interface CniCall {
  readonly container?: CniContainer;
  /** Merged into the host's configuration; null takes a key away. */
  readonly config?: JsonObject;
  /** Replaces the configuration. */
  readonly stdin?: string;
  /** Merged into the environment; undefined takes a variable away. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** A plugin, or a command line. Default: tulle-cni as it was built. */
  readonly program?: string | readonly string[];
}

export interface CniAnswer {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What stdout holds, null when it is empty. */
  readonly json: AnyJson;
}

/** Answers are looked into by tests that expect a certain form. */
export type AnyJson = ReturnType<typeof JSON.parse>;

/** The plugin as a Node program, which is built beside the executable. */
export const NODE_FORM = [process.execPath, join(PROGRAMS, "../lib/tulle-cni.cjs")];

/** The network that containers are attached to unless a test says otherwise. */
export const NETWORK_NAME = "cbr0";

export const SUBNET_ENV = {
  v4: ["FLANNEL_NETWORK=10.5.0.0/16", "FLANNEL_SUBNET=10.5.72.1/24"],
  v6: ["FLANNEL_IPV6_NETWORK=fd00:5::/48", "FLANNEL_IPV6_SUBNET=fd00:5:0:72::1/64"],
  rest: ["FLANNEL_MTU=1450", "FLANNEL_IPMASQ=true"],
};

export class CniHost {
  readonly netns: TestNetns;
  readonly dir: string;
  readonly subnetFile: string;
  readonly #label: string;
  /** The containers' namespaces, and the host's unless it was given. */
  readonly #owned: TestNetns[] = [];

  /** `daemon` is a host on which tulled runs; without it the host is new and has a subnet.env of our own. */
  constructor(label: string, daemon?: { readonly netns: TestNetns; readonly runDirectory: string }) {
    if (!existsSync(join(PROGRAMS, "tulle-cni")))
      throw new Error(`${PROGRAMS} has no tulle-cni: build first`);
    this.#label = label;
    this.dir = mkdtempSync(join(tmpdir(), "tulle-cni-"));
    mkdirSync(join(this.dir, "bin"));
    this.netns = daemon?.netns ?? this.#createNetns();
    this.subnetFile = join(daemon?.runDirectory ?? this.dir, daemon ? "flannel/subnet.env" : "subnet.env");
    if (daemon === undefined) this.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.rest]);
  }

  /** A folder of CNI_PATH that tests may fill. */
  get pluginDir(): string {
    return join(this.dir, "bin");
  }

  get stateDir(): string {
    return join(this.dir, "state");
  }

  /** The configuration as flannel ships it, with this host's folders. */
  get config(): JsonObject {
    return {
      cniVersion: "1.0.0",
      name: NETWORK_NAME,
      type: "flannel",
      subnetFile: this.subnetFile,
      dataDir: this.stateDir,
      ipam: { dataDir: join(this.dir, "ipam") },
      delegate: { hairpinMode: true, isDefaultGateway: true },
    };
  }

  /** Where container engines of this host run; they share a /run of their own. */
  get enginePlace(): EnginePlace {
    return {
      netns: this.netns,
      runDirectory: join(this.dir, "run"),
      enter: (...command) => ["nsenter", `--net=${this.netns.path}`, ...command],
    };
  }

  writeSubnetEnv(lines: readonly string[]): void {
    writeFileSync(this.subnetFile, `${lines.join("\n")}\n`);
  }

  addContainer(): CniContainer {
    const netns = this.#createNetns();
    return { id: netns.name, netns };
  }

  /** Runs the plugin to its end. */
  call(verb: string, call: CniCall = {}): CniAnswer {
    const { command, args, options } = this.#prepare(verb, call);
    const { status, stdout, stderr } = spawnSync(command, args, { ...options, encoding: "utf8" });
    return answerOf(status, stdout, stderr);
  }

  /** The same beside others. */
  callAsync(verb: string, call: CniCall = {}): Promise<CniAnswer> {
    const { command, args, options } = this.#prepare(verb, call);
    const { input, ...rest } = options;
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { ...rest, stdio: "pipe" });
      const chunks = { stdout: "", stderr: "" };
      child.stdout.on("data", (chunk) => {
        chunks.stdout += chunk;
      });
      child.stderr.on("data", (chunk) => {
        chunks.stderr += chunk;
      });
      child.on("error", reject);
      child.on("close", (code) => resolve(answerOf(code, chunks.stdout, chunks.stderr)));
      child.stdin.end(input);
    });
  }

  /** Devices of the host but loopback, by name, as `ip -j -d link` shows them. */
  links(): ReadonlyMap<string, AnyJson> {
    const links = this.netns.ipJson(["-d", "link", "show"]) as readonly AnyJson[];
    return new Map(links.filter(({ ifname }) => ifname !== "lo").map((link) => [link.ifname, link]));
  }

  /** Names of reserved addresses of a network. */
  reservations(networkName = NETWORK_NAME): readonly string[] {
    const folder = join(this.dir, "ipam", networkName);
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .filter((name) => name !== "lock" && name !== ".tulle-boot" && !name.startsWith("last_reserved_ip."))
      .sort();
  }

  /** Names of records of attachments, without the second name that flannel knows some by. */
  states(): readonly string[] {
    return this.stateFiles().filter((name) => name.includes(":"));
  }

  /** All names in the folder of records. */
  stateFiles(): readonly string[] {
    return existsSync(this.stateDir) ? readdirSync(this.stateDir).sort() : [];
  }

  /** Everything that attachments leave on a host: nothing of it may remain after DEL. */
  leftovers(): readonly string[] {
    const ports = [...this.links().values()].filter(({ linkinfo }) => linkinfo?.info_kind === "veth");
    return [...ports.map(({ ifname }) => ifname), ...this.reservations(), ...this.stateFiles()];
  }

  dispose(): void {
    for (const netns of this.#owned) netns.dispose();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #createNetns(): TestNetns {
    const netns = createNetns(`cni-${this.#label}`);
    this.#owned.push(netns);
    return netns;
  }

  #prepare(verb: string, { container, config = {}, stdin, environment = {}, program }: CniCall) {
    const merged = Object.entries({ ...this.config, ...config }).filter(([, value]) => value !== null);
    const input = stdin ?? JSON.stringify(Object.fromEntries(merged));
    const variables: Record<string, string | undefined> = {
      PATH: process.env.PATH,
      CNI_COMMAND: verb,
      CNI_CONTAINERID: container?.id,
      CNI_NETNS: container?.netns.path,
      CNI_IFNAME: "eth0",
      CNI_PATH: this.pluginDir,
      ...environment,
    };
    const args = [`--net=${this.netns.path}`, ...[program ?? join(PROGRAMS, "tulle-cni")].flat()];
    return { command: "nsenter", args, options: { input, env: variables, maxBuffer: 1 << 28 } };
  }
}

function answerOf(exitCode: number | null, stdout: string, stderr: string): CniAnswer {
  return { exitCode, stdout, stderr, json: stdout === "" ? null : JSON.parse(stdout) };
}
