/** Hosts with tulled, an etcd and a Docker each: what the walkthrough's named networks need. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NAME_SERVER } from "../../agent/names/name-server-address.ts";
import { createImage, DockerHost } from "./docker.ts";
import type { Engines } from "./engines.ts";
import { EtcdLab, type EtcdLabOptions, type Host } from "./hosts.ts";

export const NETWORK = { Network: "10.2.0.0/16", SubnetLen: 24, Backend: { Type: "vxlan" } };

export class DockerLab {
  readonly net: EtcdLab;
  readonly dockers: DockerHost[] = [];
  readonly image: string;
  readonly #engines: Engines;
  readonly #folder = mkdtempSync(join(tmpdir(), "tulle-docker-lab-"));
  #flags: readonly string[] = [];

  constructor(
    label: string,
    hosts: number,
    engines: Engines,
    options: Pick<EtcdLabOptions, "isStoreApart" | "families"> = {},
  ) {
    this.#engines = engines;
    this.net = new EtcdLab(label, { hosts, config: NETWORK, ...options });
    this.image = createImage(this.#folder);
  }

  /** Starts everything: agents first, as the units order them. */
  async build(...flags: readonly string[]): Promise<void> {
    await this.net.build();
    this.#flags = flags;
    await Promise.all(this.net.lab.hosts.map((host) => this.startAgent(host)));
    for (const host of this.net.lab.hosts) this.dockers.push(new DockerHost(host, this.#engines));
    // As "tulle docker setup" writes it.
    for (const { configFile } of this.dockers)
      writeFileSync(configFile, JSON.stringify({ dns: [String(NAME_SERVER)] }));
    await Promise.all(this.dockers.map((docker) => docker.start(this.image)));
  }

  /** What tulled is started with on every host. */
  get agentFlags(): readonly string[] {
    return [...this.net.flags, ...this.#flags];
  }

  /** Starts tulled on a host, with the flags of all. */
  async startAgent(host: Host): Promise<void> {
    await host.daemon.start(...this.agentFlags);
  }

  /** Counted from 1. */
  docker(number: number): DockerHost {
    const docker = this.dockers[number - 1];
    if (docker === undefined) throw new Error(`there is no host${number}`);
    return docker;
  }

  async dispose(): Promise<void> {
    for (const docker of this.dockers) docker.dispose();
    await this.net.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const SLEEP: readonly string[] = ["sleep", "100000"];

/** `docker network create -d tulle --ipam-driver tulle NAME`. */
export function create(docker: DockerHost, name: string, ...options: readonly string[]): void {
  docker.docker("network", "create", "-d", "tulle", "--ipam-driver", "tulle", ...options, name);
}

/** Names of the driver's networks. */
export function networksOf(docker: DockerHost): readonly string[] {
  const listed = docker.docker("network", "ls", "--filter", "driver=tulle", "--format", "{{.Name}}");
  return listed.split("\n").filter(Boolean);
}

/** The address of a container in a network; "" while it does not run. */
export function addressOn(docker: DockerHost, container: string, network: string): string {
  const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
  return docker.docker("inspect", "--format", format, container);
}

/** Whether one of the packets comes back. */
export function pings(docker: DockerHost, from: string, to: string): boolean {
  return outcomeOf(docker, "exec", from, "ping", "-c", "1", "-W", "2", to).ok;
}

/** Runs `docker`, also one that fails; returns what it printed to both streams. */
export function outcomeOf(docker: DockerHost, ...args: readonly string[]): { ok: boolean; text: string } {
  try {
    return { ok: true, text: docker.docker(...args) };
  } catch (error) {
    return { ok: false, text: error instanceof Error ? error.message : String(error) };
  }
}

/** Tries `read` until it returns something true. */
export async function until<T>(read: () => T, ms = 10_000): Promise<NonNullable<T>> {
  const endMs = performance.now() + ms;
  let reason: unknown = "false";
  while (performance.now() < endMs) {
    try {
      const value = read();
      if (value) return value as NonNullable<T>;
    } catch (error) {
      reason = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`not within ${ms} ms: ${read}: ${reason}`);
}
