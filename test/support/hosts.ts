/**
 * Hosts for end-to-end tests, running the programs of dist/ with a store of their own.
 *
 *     const net = useEtcdLab("restart", { hosts: 2, config: { Network: "10.2.0.0/16" } });
 *     it("…", async () => {
 *       const host = net.host(1);
 *       await host.daemon.start(...net.flags);
 *       const box = host.addContainer();
 *       await ping(box.netns, "10.2.3.2", 10);
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe } from "vitest";
import { createFileStore } from "../../agent/demo/file-store.ts";
import {
  Lab as AnyLab,
  LAN_PREFIX,
  type Container as LabContainer,
  type Host as LabHost,
} from "../../agent/demo/lab.ts";
import type { Family } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { type EtcdCluster, missingEtcd, startEtcd } from "./etcd.ts";
import { createTestNamespace, describeAsRoot, type TestNetns } from "./netns.ts";
import { PROGRAMS, TULLED } from "./programs.ts";

export { MIN_PACKETS, type PingReport, ping, startPing } from "./ping.ts";
export { LAUNCHERS, onNode, PROGRAMS, TULLE, TULLED } from "./programs.ts";

export type Lab = AnyLab<TestNetns>;
export type Host = LabHost<TestNetns>;
export type Container = LabContainer<TestNetns>;

/** A program takes five to ten times as long in the guest, and longer beside other suites. */
const PATIENCE_MS = process.env.TULLE_GUEST ? 180_000 : 30_000;

let counter = 0;

/** An empty lab (needs root). `label` is part of every name in it. */
export function createLab(label: string, mtuBytes = 1500, families: readonly Family[] = [4]): Lab {
  if (!existsSync(join(PROGRAMS, "tulled"))) throw new Error(`${PROGRAMS} has no tulled: run npm run build`);
  counter += 1;
  const name = `tulle-${label}-${process.pid}-${counter}`;
  return disposeAtExit(
    new AnyLab({
      name,
      tulled: TULLED,
      mtuBytes,
      families,
      patienceMs: PATIENCE_MS,
      createNamespace: createTestNamespace,
    }),
  );
}

/** For the body of a describe: builds an empty lab before its tests and removes it after them. */
export function useLab(label: string): () => Lab {
  let lab: Lab | null = null;
  beforeAll(() => {
    lab = createLab(label);
  });
  afterAll(() => lab?.dispose());
  return () => present(lab, "a lab");
}

/** A file store in the lab's directory that holds a network: answers the value for --store. */
export function fileStoreOf(lab: Lab, config: object, prefix = "/coreos.com/network"): Promise<string> {
  const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
  return createFileStore(join(lab.directory, "store"), prefix, config, environment);
}

/** As describeAsRoot; skipped too, visibly, where etcd is not installed, unless CI is set. */
export function describeWithEtcd(name: string, body: () => void): void {
  const missing = missingEtcd();
  if (missing === null || process.env.CI) describeAsRoot(name, body);
  else describe.skip(`${name} (${missing})`, body);
}

export interface EtcdLabOptions {
  readonly hosts: number;
  /** Written to the store before anything starts; null leaves the store empty. */
  readonly config: object | null;
  /** Default `/coreos.com/network`. */
  readonly prefix?: string;
  /** Of the hosts' addresses. Default IPv4, which etcd uses in any case. */
  readonly families?: readonly Family[];
  /** Puts etcd beside the hosts, at the LAN's router, so that it outlives each of them. Default false: on host1. */
  readonly isStoreApart?: boolean;
  /** More flags for etcd, such as `--quota-backend-bytes=8388608`. */
  readonly etcdFlags?: readonly string[];
}

/** Hosts on a LAN with etcd on the first of them. */
export class EtcdLab {
  readonly prefix: string;
  readonly #label: string;
  readonly #options: EtcdLabOptions;
  #lab: Lab | null = null;
  #etcd: EtcdCluster | null = null;

  constructor(label: string, options: EtcdLabOptions) {
    this.#label = label;
    this.#options = options;
    this.prefix = options.prefix ?? "/coreos.com/network";
  }

  async build(): Promise<void> {
    this.#lab = createLab(this.#label, 1500, this.#options.families);
    for (let count = 0; count < this.#options.hosts; count++) this.#lab.addHost();
    const { etcdFlags: flags = [], isStoreApart = false } = this.#options;
    const { netns, address } = isStoreApart ? this.#router() : this.host(1);
    this.#etcd = await startEtcd({ places: [{ netns, host: address }], flags });
    if (this.#options.config !== null) this.putConfig(this.#options.config);
  }

  async dispose(): Promise<void> {
    await this.#etcd?.stop();
    this.#lab?.dispose();
  }

  #router(): { readonly netns: TestNetns; readonly address: string } {
    const address = `${LAN_PREFIX}.1`;
    this.lab.lan.ip(`address add ${address}/24 dev lan`);
    return { netns: this.lab.lan, address };
  }

  get lab(): Lab {
    return present(this.#lab, "a lab");
  }

  get etcd(): EtcdCluster {
    return present(this.#etcd, "an etcd");
  }

  /** What every daemon is started with. */
  get flags(): readonly string[] {
    return [`-etcd-endpoints=${this.etcd.endpoints.join(",")}`, "-iface=eth0", `-etcd-prefix=${this.prefix}`];
  }

  /** Counted from 1, as their names are. */
  host(number: number): Host {
    return present(this.lab.hosts[number - 1], `a host${number}`);
  }

  /** Starts the daemon of every host at once, with `more` flags, and waits until all are ready. */
  async startAll(...more: readonly string[]): Promise<void> {
    await Promise.all(this.lab.hosts.map((host) => host.daemon.start(...this.flags, ...more)));
  }

  /** Writes text under the prefix, as any etcd client would. */
  put(key: string, value: string): void {
    this.etcd.ctl("put", `${this.prefix}/${key}`, value);
  }

  putConfig(config: object): void {
    this.put("config", JSON.stringify(config));
  }

  delete(key: string): void {
    this.etcd.ctl("del", `${this.prefix}/${key}`);
  }

  /** Every lease in the store: its key without the folder, and its value. */
  leases(): ReadonlyMap<string, string> {
    const folder = `${this.prefix}/subnets/`;
    const lines = this.etcd.ctl("get", "--prefix", folder).split("\n").filter(Boolean);
    const keys = lines.filter((_, index) => index % 2 === 0);
    return new Map(keys.map((key, index) => [key.slice(folder.length), lines[2 * index + 1] ?? ""]));
  }
}

/** For the body of a describe: builds the lab before its tests and removes it after them. */
export function useEtcdLab(label: string, options: EtcdLabOptions): EtcdLab {
  const net = new EtcdLab(label, options);
  beforeAll(() => net.build());
  afterAll(() => net.dispose());
  return net;
}

function present<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`there is no ${what} here`);
  return value;
}
