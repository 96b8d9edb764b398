/**
 * Two Docker hosts on one overlay, a web server in a container on each, and a world outside.
 *
 *     outside  203.0.113.1 ── lan 192.168.50.1
 *       host1  dockerd: web1, port 8080 published      host2  dockerd: web2
 */

import { createHash, randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createImage, DockerHost } from "../../support/docker.ts";
import type { Engines } from "../../support/engines.ts";
import { createLab, fileStoreOf, type Lab, TULLE } from "../../support/hosts.ts";

export const OUTSIDE = "203.0.113.1";
export const PUBLISHED_PORT = 8080;
const DATA_BYTES = 100 * 2 ** 20;

export class DockerPair {
  readonly lab: Lab;
  readonly first: DockerHost;
  readonly second: DockerHost;
  readonly image: string;
  /** MD5 of the file that both web servers offer as /data. */
  readonly checksum: string;
  readonly #www: string;
  #store = "";
  #daemonFlags: readonly string[] = [];

  constructor(label: string, engines: Engines) {
    this.lab = createLab(label);
    this.lab.lan.ip("address add 192.168.50.1/24 dev lan", `address add ${OUTSIDE}/32 dev lo`);
    this.first = new DockerHost(this.lab.addHost(), engines);
    this.second = new DockerHost(this.lab.addHost(), engines);
    this.image = createImage(this.lab.directory);
    this.#www = join(this.lab.directory, "www");
    mkdirSync(this.#www);
    const data = randomBytes(DATA_BYTES);
    writeFileSync(join(this.#www, "data"), data);
    writeFileSync(join(this.#www, "hello"), "hello\n");
    mkdirSync(join(this.#www, "cgi-bin"));
    // Answers each request with the client's address.
    writeFileSync(join(this.#www, "cgi-bin/peer"), "#!/bin/sh\necho\necho $REMOTE_ADDR\n", { mode: 0o755 });
    for (const path of [this.lab.directory, this.#www]) chmodSync(path, 0o755);
    this.checksum = createHash("md5").update(data).digest("hex");
  }

  get both(): readonly DockerHost[] {
    return [this.first, this.second];
  }

  /** Starts tulled on both hosts, with these flags from now on. */
  async startAgents(...flags: readonly string[]): Promise<void> {
    this.#store = await fileStoreOf(this.lab, { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
    this.#daemonFlags = [`--store=${this.#store}`, ...flags];
    for (const docker of this.both) await this.startAgent(docker);
  }

  async startAgent({ host }: DockerHost): Promise<void> {
    await host.daemon.start(...this.#daemonFlags);
  }

  /** Runs the command line `tulle` on a host, with that host's Docker configuration. */
  tulle(docker: DockerHost, ...args: readonly string[]): string {
    const { host, configFile } = docker;
    const unitDirectory = join(host.stateDirectory, "units");
    const files = args[0] === "docker" ? [`--daemon-json=${configFile}`, `--unit-dir=${unitDirectory}`] : [];
    const store = args[0] === "lease" ? [`--store=${this.#store}`] : [];
    return docker.run(...TULLE, ...args, ...files, ...store);
  }

  /** Starts the web servers; they come back by themselves when dockerd does. */
  startWeb(): void {
    for (const [docker, name] of [
      [this.first, "web1"],
      [this.second, "web2"],
    ] as const) {
      const published = docker === this.first ? ["--publish", `${PUBLISHED_PORT}:80`] : [];
      docker.runContainer(name, {
        options: ["--restart=always", "--stop-timeout=0", "--volume", `${this.#www}:/www:ro`, ...published],
        command: ["httpd", "-f", "-vv", "-p", "80", "-h", "/www"],
      });
    }
  }

  /**
   * True when all works: each container gets a page of the other's server, which sees the container's own address
   * where tulled masquerades, and the first reaches the outside, which knows no way back but through a masquerade.
   */
  get isConnected(): boolean {
    try {
      const [one, two] = [this.first.addressOf("web1"), this.second.addressOf("web2")];
      this.first.exec("web1", "ping", "-c", "1", "-W", "1", OUTSIDE);
      return this.#isServed(this.first, "web1", two) && this.#isServed(this.second, "web2", one);
    } catch {
      return false; // a container is not up yet, or a packet is lost
    }
  }

  #isServed(from: DockerHost, container: string, address: string): boolean {
    const seen = from.exec(
      container,
      "timeout",
      "2",
      "wget",
      "-q",
      "-O",
      "-",
      `http://${address}/cgi-bin/peer`,
    );
    const masquerades = this.#daemonFlags.includes("--ip-masq");
    return masquerades ? seen === `[::ffff:${from.addressOf(container)}]` : seen !== "";
  }

  async dispose(): Promise<void> {
    for (const docker of this.both) {
      await docker.host.daemon.stop().catch(() => undefined);
      await docker.stop().catch(() => undefined);
      docker.dispose();
    }
    this.lab.dispose();
  }
}

/** Waits until all is connected. Throws when that takes longer than `timeoutMs`. */
export async function untilConnected(pair: DockerPair, timeoutMs = 15_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!pair.isConnected) {
    if (performance.now() > endMs) throw new Error(`the containers are not connected after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
