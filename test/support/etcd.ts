/**
 * Real etcd for tests: one member or several, on loopback or in a namespace, with or without TLS.
 *
 * Members can be killed, started again, hung and restored. Readiness is asked at the metrics address, which is
 * plaintext whatever the clients use. Nothing here knows tulle.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchPackage } from "../../deploy/verify/foreign-packages.mjs";
import { type Daemon, freePorts, startDaemon, untilReady } from "./daemon.ts";
import type { Place } from "./netns.ts";
import type { Issued } from "./pki.ts";

/** The server's certificate, which etcdctl shows as well. */
export interface EtcdTls extends Issued {
  /** Demand a client certificate that the authority signed. */
  readonly isMutual: boolean;
}

export interface EtcdOptions {
  /** Number of members. Default 1. */
  readonly members?: number;
  readonly tls?: EtcdTls;
  /** One for each member, or one for all; loopback when absent. Clients are run in the first. */
  readonly places?: readonly Place[];
  /** Programs of another version; those on the path when absent. */
  readonly programs?: EtcdPrograms;
  /** More flags, such as `--auth-token-ttl=2`. */
  readonly flags?: readonly string[];
}

export interface EtcdPrograms {
  readonly etcd: string;
  readonly etcdctl: string;
}

export interface EtcdMember {
  readonly name: string;
  /** Client URL. */
  readonly endpoint: string;
  readonly port: number;
  readonly pid: number | null;
  /** Starts it again where it was, and waits until it answers unless told otherwise. */
  start(options?: { readonly wait: boolean }): Promise<void>;
  kill(): Promise<void>;
  pause(): Promise<void>;
  resume(): void;
}

export interface EtcdCluster {
  readonly members: readonly EtcdMember[];
  /** Client URLs of all members. */
  readonly endpoints: readonly string[];
  /** Goes with the cluster: room for snapshots. */
  readonly directory: string;
  /** Runs etcdctl against all endpoints and returns its output. */
  ctl(...args: readonly string[]): string;
  /** Does operations in etcdctl's words, such as `put KEY "VALUE"`, all at once; at most 128 by default. */
  transaction(operations: readonly string[]): void;
  /** Makes a user with a role that may do everything under `prefix`, and root, and demands names from now on. */
  enableAuth(name: string, password: string, prefix: string): void;
  /** The member that leads now. */
  leader(): EtcdMember;
  /** The store's revision now. */
  revision(): number;
  /** Drops the history up to now. */
  compact(): void;
  /** Kills the only member, puts the snapshot in place of its data, and starts it. */
  restore(snapshotFile: string): Promise<void>;
  /** Kills all members and removes their files. */
  stop(): Promise<void>;
}

const DEFAULT_PROGRAMS: EtcdPrograms = { etcd: "etcd", etcdctl: "etcdctl" };

/**
 * etcd 3.5 of a newer Debian suite, fetched into the checkout at the first use. Throws with the reason when it
 * cannot be had.
 */
export function fetchEtcd35(): EtcdPrograms {
  const program = (name: string, file: string) => join(fetchPackage("trixie", name), "usr/bin", file);
  return { etcd: program("etcd-server", "etcd"), etcdctl: program("etcd-client", "etcdctl") };
}

/** Null when etcd and etcdctl are installed, else what to install. */
export function missingEtcd(): string | null {
  const isThere = (program: string, ...args: string[]) => spawnSync(program, args).status === 0;
  return isThere("etcd", "--version") && isThere("etcdctl", "version")
    ? null
    : "etcd is not installed: apt-get install etcd-server etcd-client";
}

/** Starts a cluster and waits until it serves. */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdCluster> {
  const directory = mkdtempSync(join(tmpdir(), "tulle-etcd-"));
  const plans = await planMembers(options, directory);
  const members = plans.map((plan) => memberOf(plan, plans, options));
  const cluster = clusterOf(members, plans, options, directory);
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

interface MemberPlan {
  readonly name: string;
  readonly place: Place | undefined;
  readonly dataDir: string;
  readonly port: number;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly metricsUrl: string;
}

async function planMembers(options: EtcdOptions, directory: string): Promise<readonly MemberPlan[]> {
  const count = options.members ?? 1;
  const { places = [] } = options;
  const ports =
    places.length > 0
      ? Array.from({ length: 3 * count }, (_, index) => 2379 + index)
      : await freePorts(3 * count);
  const scheme = options.tls ? "https" : "http";
  return Array.from({ length: count }, (_, index) => {
    const [port = 0, peerPort = 0, metricsPort = 0] = ports.slice(3 * index);
    const place = places[index % places.length];
    const host = place?.host ?? "127.0.0.1";
    return {
      name: `m${index}`,
      place,
      dataDir: join(directory, `m${index}`),
      port,
      clientUrl: `${scheme}://${host}:${port}`,
      peerUrl: `http://${host}:${peerPort}`,
      metricsUrl: `http://${host}:${metricsPort}`,
    };
  });
}

function memberOf(plan: MemberPlan, all: readonly MemberPlan[], options: EtcdOptions): EtcdMember {
  let daemon: Daemon | null = null;
  return {
    name: plan.name,
    endpoint: plan.clientUrl,
    port: plan.port,
    get pid() {
      return daemon?.pid ?? null;
    },
    start: async ({ wait } = { wait: true }) => {
      const started = startDaemon((options.programs ?? DEFAULT_PROGRAMS).etcd, flagsOf(plan, all, options), {
        netns: plan.place?.netns,
        env: { ETCD_UNSUPPORTED_ARCH: process.arch },
      });
      daemon = started;
      if (!wait) return;
      await untilReady(
        () => isHealthy(plan),
        () => `etcd ${plan.name}: ${started.output}`,
      );
    },
    kill: async () => await daemon?.kill(),
    pause: async () => await daemon?.pause(),
    resume: () => daemon?.resume(),
  };
}

function flagsOf(plan: MemberPlan, all: readonly MemberPlan[], options: EtcdOptions): readonly string[] {
  const { tls } = options;
  const tlsFlags = tls ? [`--cert-file=${tls.certFile}`, `--key-file=${tls.keyFile}`] : [];
  // Naming an authority makes etcd demand certificates, whatever --client-cert-auth says.
  const mutualFlags = tls?.isMutual ? [`--trusted-ca-file=${tls.caFile}`, "--client-cert-auth"] : [];
  return [
    `--name=${plan.name}`,
    `--data-dir=${plan.dataDir}`,
    `--listen-client-urls=${plan.clientUrl}`,
    `--advertise-client-urls=${plan.clientUrl}`,
    `--listen-peer-urls=${plan.peerUrl}`,
    `--initial-advertise-peer-urls=${plan.peerUrl}`,
    `--initial-cluster=${all.map((member) => `${member.name}=${member.peerUrl}`).join(",")}`,
    `--listen-metrics-urls=${plan.metricsUrl}`,
    "--logger=zap",
    "--log-level=warn",
    ...tlsFlags,
    ...mutualFlags,
    ...(options.flags ?? []),
  ];
}

async function isHealthy({ metricsUrl, place }: MemberPlan): Promise<boolean> {
  if (place) {
    const program = "fetch(process.argv[1]).then((answer) => process.exit(answer.ok ? 0 : 1))";
    place.netns.exec(process.execPath, ["--eval", program, `${metricsUrl}/health`]);
    return true;
  }
  return (await fetch(`${metricsUrl}/health`, { signal: AbortSignal.timeout(1_000) })).ok;
}

function clusterOf(
  members: readonly EtcdMember[],
  plans: readonly MemberPlan[],
  options: EtcdOptions,
  directory: string,
): EtcdCluster {
  const endpoints = members.map((member) => member.endpoint);
  const { etcdctl } = options.programs ?? DEFAULT_PROGRAMS;
  const { tls } = options;
  const tlsFlags = tls ? [`--cacert=${tls.caFile}`, `--cert=${tls.certFile}`, `--key=${tls.keyFile}`] : [];
  const [place] = options.places ?? [];
  const enter = place ? ["nsenter", `--net=${place.netns.path}`] : [];
  const run = (args: readonly string[], input = ""): string => {
    const all = [...enter, etcdctl, `--endpoints=${endpoints.join(",")}`, ...tlsFlags, ...args];
    return execFileSync(all[0] ?? "", all.slice(1), {
      encoding: "utf8",
      env: { ...process.env, ETCDCTL_API: "3" },
      stdio: ["pipe", "pipe", "pipe"],
      input,
    });
  };
  const statuses = (): readonly EndpointStatus[] =>
    JSON.parse(run(["endpoint", "status", "--write-out=json"]));
  const revision = () => Math.max(...statuses().map((answer) => answer.Status.header.revision));
  return {
    members,
    endpoints,
    directory,
    ctl: (...args) => run(args),
    // etcdctl reads three blocks: comparisons, what to do on success, what on failure.
    transaction: (operations) => void run(["txn"], `\n${operations.join("\n")}\n\n\n`),
    enableAuth: (name, password, prefix) => {
      run(["user", "add", "root:root"]);
      run(["user", "add", `${name}:${password}`]);
      run(["role", "add", "network"]);
      run(["role", "grant-permission", "network", "readwrite", prefix, "--prefix=true"]);
      run(["user", "grant-role", name, "network"]);
      run(["user", "grant-role", "root", "root"]);
      run(["auth", "enable"]);
    },
    leader: () => {
      const answer = statuses().find(({ Status }) => Status.leader === Status.header.member_id);
      const leader = members.find((member) => member.endpoint === answer?.Endpoint);
      if (!leader) throw new Error("the etcd cluster has no leader");
      return leader;
    },
    revision,
    compact: () => void run(["compact", String(revision())]),
    restore: async (snapshotFile) => {
      const [member, plan] = [members[0], plans[0]];
      if (!member || !plan || members.length > 1) throw new Error("restore is for clusters of one member");
      await member.kill();
      rmSync(plan.dataDir, { recursive: true });
      const name = [`--name=${plan.name}`, `--initial-cluster=${plan.name}=${plan.peerUrl}`];
      const peer = [`--initial-advertise-peer-urls=${plan.peerUrl}`, `--data-dir=${plan.dataDir}`];
      run(["snapshot", "restore", snapshotFile, ...name, ...peer]);
      await member.start();
    },
    stop: async () => {
      await Promise.all(members.map((member) => member.kill()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface EndpointStatus {
  readonly Endpoint: string;
  readonly Status: {
    readonly header: { readonly member_id: number; readonly revision: number };
    readonly leader: number;
  };
}
