/**
 * Several hosts on one machine: each a network namespace with an eth0 on a common LAN, and a /run of its own.
 *
 *     lan      192.168.50.0/24, one bridge; also fd00:50::/64 where IPv6 is wanted
 *       host1  eth0 192.168.50.11 ── flannel.1, docker0 ── its containers
 *       host2  eth0 192.168.50.12 …
 *
 * Programs on a host find the default paths and see nothing of the other hosts. All calls that build something
 * are synchronous: what they made is known when they return, so that dispose() can always remove it.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Address,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import { parseSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { Daemon } from "./daemon.ts";
import { type Namespace, runTool } from "./namespace.ts";
import { inNetwork } from "./network.ts";

export const LAN_PREFIX = "192.168.50";
/** The LAN of each family; the router of a default route would have its first address. */
const LANS = { 4: Prefix.parse(`${LAN_PREFIX}.0/24`), 6: Prefix.parse("fd00:50::/64") } as const;
const FIRST_HOST = 11;

export interface LabOptions<N extends Namespace = Namespace> {
  /** Makes the namespaces of the LAN, the hosts and the containers. */
  readonly createNamespace: (name: string) => N;
  /** First part of the name of every namespace. */
  readonly name: string;
  /** The command line that runs tulled. */
  readonly tulled: readonly string[];
  /** Of the LAN, in bytes. Default 1500. */
  readonly mtuBytes?: number;
  /** How long a daemon may take to reach a state. Default 30 s. */
  readonly patienceMs?: number;
  /** Of the hosts' addresses. Default IPv4. */
  readonly families?: readonly Family[];
}

/** The LAN and everything on it, in namespaces of the type `N`. */
export class Lab<N extends Namespace = Namespace> {
  /** Holds the hosts' files. */
  readonly directory: string;
  readonly lan: N;
  readonly #options: Required<LabOptions<N>>;
  readonly #hosts: Host<N>[] = [];

  constructor(options: LabOptions<N>) {
    this.#options = { mtuBytes: 1500, families: [4], patienceMs: 30_000, ...options };
    this.lan = options.createNamespace(`${options.name}-lan`);
    this.directory = mkdtempSync(join(tmpdir(), `${options.name}-`));
    try {
      inNetwork(this.lan.path, (network) => network.addBridge("lan", this.#options.mtuBytes));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get hosts(): readonly Host<N>[] {
    return this.#hosts;
  }

  /** Adds host1, host2, … with the next address of the LAN. */
  addHost(): Host<N> {
    const { mtuBytes, families, patienceMs } = this.#options;
    const name = `host${this.#hosts.length + 1}`;
    const addresses = Object.fromEntries(
      families.map((family) => [family, LANS[family].base.plus(FIRST_HOST + this.#hosts.length)]),
    );
    const host = new Host({
      name,
      createNamespace: this.#options.createNamespace,
      netns: this.#options.createNamespace(`${this.#options.name}-${name}`),
      addresses,
      directory: join(this.directory, name),
      tulled: this.#options.tulled,
      patienceMs,
    });
    this.#hosts.push(host);
    inNetwork(host.netns.path, (network) => {
      network.addVeth("eth0", mtuBytes, { name, path: this.lan.path });
      network.setLink("eth0", { isUp: true });
      for (const family of families) {
        network.addAddress("eth0", `${addresses[family]}/${LANS[family].length}`);
        network.addDefaultRoute(LANS[family].base.plus(1));
      }
    });
    inNetwork(this.lan.path, (network) => network.attach(name, "lan"));
    return host;
  }

  /** Ends every program inside and removes everything; a second call does nothing. */
  dispose(): void {
    for (const host of this.#hosts.splice(0)) host.dispose();
    this.lan.dispose();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

interface HostOptions<N extends Namespace> {
  readonly name: string;
  readonly createNamespace: (name: string) => N;
  readonly netns: N;
  readonly addresses: PerFamily<Address>;
  readonly directory: string;
  readonly tulled: readonly string[];
  readonly patienceMs: number;
}

/** One host of a lab. */
export class Host<N extends Namespace = Namespace> {
  readonly name: string;
  readonly netns: N;
  /** On the LAN. */
  readonly addresses: PerFamily<string>;
  /** The one of the first family. */
  readonly address: string;
  /** What programs on the host see as /run. */
  readonly runDirectory: string;
  /** Where the daemon keeps what must outlive a reboot. */
  readonly stateDirectory: string;
  readonly daemon: Daemon;
  readonly #createNamespace: (name: string) => N;
  readonly #containers: Container<N>[] = [];

  constructor(options: HostOptions<N>) {
    const { name, createNamespace, netns, addresses, directory, tulled, patienceMs } = options;
    this.name = name;
    this.#createNamespace = createNamespace;
    this.netns = netns;
    this.addresses = mapFamilies(addresses, String);
    this.address = firstOf(this.addresses);
    this.runDirectory = join(directory, "run");
    this.stateDirectory = join(directory, "state");
    mkdirSync(this.runDirectory, { recursive: true });
    this.daemon = new Daemon({
      command: this.enter(
        // The kernel ends it when this process is gone, also after a SIGKILL (prctl(2), PR_SET_PDEATHSIG).
        ...["setpriv", "--pdeathsig", "KILL"],
        ...[...tulled, `--state-dir=${this.stateDirectory}`],
      ),
      runDirectory: this.runDirectory,
      logFile: join(directory, "tulled.log"),
      patienceMs,
    });
  }

  get containers(): readonly Container<N>[] {
    return this.#containers;
  }

  /** The whole command that runs `command` on this host; each part replaces itself by the next (execve(2)). */
  enter(...command: readonly string[]): readonly string[] {
    const bind = 'mount --bind "$0" /run && exec "$@"';
    const ownMounts = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", bind, this.runDirectory];
    return ["nsenter", `--net=${this.netns.path}`, ...ownMounts, ...command];
  }

  /** Runs a program on this host and returns its standard output; throws with its standard error. */
  run(...command: readonly string[]): string {
    const [program = "", ...args] = this.enter(...command);
    return runTool(program, args);
  }

  /** The file that the daemon wrote. Throws CodecError. */
  subnetEnv(): SubnetEnv {
    return parseSubnetEnv(this.subnetFileText());
  }

  subnetFileText(): string {
    return readFileSync(join(this.runDirectory, "flannel/subnet.env"), "utf8");
  }

  /** Attaches a container as Docker does: a veth pair to docker0, which is made when it is the first. */
  addContainer(): Container<N> {
    const { subnets, mtuBytes } = this.subnetEnv();
    if (this.#containers.length === 0) this.#makeBridge(subnets, mtuBytes);
    const number = this.#containers.length + 1;
    const letter = String.fromCharCode("a".charCodeAt(0) + this.#containers.length);
    const addresses = mapFamilies(subnets, (gateway) => gateway.address.plus(number).toString());
    const container: Container<N> = {
      name: `${this.name}-${letter}`,
      netns: this.#createNamespace(`${this.netns.name}-${letter}`),
      addresses,
      address: firstOf(addresses),
    };
    this.#containers.push(container);
    const name = `veth${number}`;
    inNetwork(this.netns.path, (network) => {
      network.addVeth(name, mtuBytes, { name: "eth0", path: container.netns.path });
      network.attach(name, "docker0");
    });
    inNetwork(container.netns.path, (network) => {
      network.setLink("eth0", { isUp: true });
      for (const [family, gateway] of entriesOf(subnets)) {
        network.addAddress("eth0", `${addresses[family]}/${gateway.length}`);
        network.addDefaultRoute(gateway.address);
      }
    });
    return container;
  }

  #makeBridge(gateways: SubnetEnv["subnets"], mtuBytes: number): void {
    inNetwork(this.netns.path, (network) => {
      network.addBridge("docker0", mtuBytes);
      for (const [, { address, length }] of entriesOf(gateways))
        network.addAddress("docker0", `${address}/${length}`);
    });
    for (const [family] of entriesOf(gateways))
      this.netns.exec("sh", ["-c", `echo 1 > ${FORWARDING[family]}`]);
  }

  /** Removes it with its containers and every program on it. */
  dispose(): void {
    for (const { netns } of [...this.#containers.splice(0), this]) netns.dispose();
  }
}

/** A container: a namespace behind its host's docker0. */
export interface Container<N extends Namespace = Namespace> {
  readonly name: string;
  readonly netns: N;
  readonly addresses: PerFamily<string>;
  /** The one of the first family. */
  readonly address: string;
}

/** What Docker sets. */
const FORWARDING = {
  4: "/proc/sys/net/ipv4/ip_forward",
  6: "/proc/sys/net/ipv6/conf/all/forwarding",
} as const;

function firstOf(addresses: PerFamily<string>): string {
  const [first] = Object.values(addresses);
  if (first === undefined) throw new Error("there is no address");
  return first;
}
