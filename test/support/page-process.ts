/**
 * The page alone, of a network that exists nowhere: started inside a network namespace by tests and benchmarks.
 *
 * Its argument is a PageScene as JSON. Writes "ready", and on SIGUSR1 a PageUsage as JSON.
 */

import process from "node:process";
import { encodeHealth, healthRecordName } from "../../agent/health-records/record.ts";
import type { ShownNetwork } from "../../agent/network/shown-network.ts";
import { readPageFiles } from "../../agent/page-server/page-files.ts";
import { PageService } from "../../agent/page-server/page-service.ts";
import type { PathHealth } from "../../agent/probes/prober.ts";
import { EventLog } from "../../agent/report/event-log.ts";
import { createLogger } from "../../agent/report/log.ts";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { MemoryHolder, openMemoryStore } from "./stores/memory-store.ts";

export interface PageScene {
  readonly hosts: number;
  /** Round trips that change in a second. */
  readonly changes: number;
  /** Of the peers, how many are broken as seen from this host. */
  readonly broken: number;
  /** Hosts by number, this one is 0: broken paths, each in one direction, as the first one reports. */
  readonly reported: readonly (readonly [number, number])[];
  /** Of the hosts' names, such as ".example.com"; null: the hosts have none. */
  readonly domain: string | null;
  readonly address: string;
  readonly port: number;
  readonly tokenFile: string | null;
  /** Whether the event loop is watched, which costs some time itself. */
  readonly isWatched: boolean;
  /** The built page. */
  readonly folder: string;
}

export interface PageUsage {
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly monotonicMs: number;
  /** Longest time that a timer of 10 ms was late since the last question; 0 when not watched. */
  readonly lateMs: number;
}

const scene = JSON.parse(process.argv[2] ?? "{}") as PageScene;
const network = Prefix.parse("10.0.0.0/8");
const first = Address.parse("192.168.0.1");

function leaseOf(index: number): Lease {
  const subnet = Prefix.of(network.base.plus(index * 256), 24);
  return {
    key: `${subnet.base}-24`,
    subnets: { 4: subnet },
    attrs: {
      publicAddress: { 4: first.plus(index) },
      backendType: "vxlan",
      backendData: {},
      nodeId: nodeIdOf(index),
    },
    revision: BigInt(index),
    createRevision: BigInt(index),
    storeLeaseId: "1",
    isLeaving: false,
  };
}

const OWN = { key: "10.0.0.0-24", nodeId: nodeIdOf(0) };

function nodeIdOf(index: number): string {
  return (index === 0 ? "f".repeat(32) : index.toString(16)).padStart(32, "0");
}

const leases = Array.from({ length: scene.hosts - 1 }, (_, index) => leaseOf(index + 1));
const health = new Map<string, PathHealth>();
const SEEN = "answers at 192.0.2.1, but no longer through the tunnel";
const ownReported = new Set(scene.reported.flatMap(([from, to]) => (from === 0 ? [to] : [])));
leases.forEach(({ key }, index) => {
  const cause = {
    code: "tunnel-filtered" as const,
    scope: "peer" as const,
    text: SEEN,
    remedy: "let the firewalls pass it",
    sinceMs: 0,
    family: null,
  };
  const isBroken = index < scene.broken || ownReported.has(index + 1);
  health.set(key, {
    state: isBroken ? "bad" : "good",
    roundTripMs: 0.2 + (index % 97) / 3,
    lossShare: 0,
    measured: null,
    isAgentQuiet: false,
    cause: isBroken ? cause : null,
  });
});
let turn = 0;
setInterval(() => {
  for (let count = 0; count < scene.changes; count += 1) {
    const lease = leases[turn++ % leases.length];
    const before = lease === undefined ? undefined : health.get(lease.key);
    if (lease !== undefined && before !== undefined)
      health.set(lease.key, { ...before, roundTripMs: Math.random() * 40 });
  }
}, 1_000);

const profiles = new Map<string, HostProfile>(
  Array.from({ length: scene.domain === null ? 0 : scene.hosts }, (_, index) => [
    nodeIdOf(index),
    { name: `node-${index}${scene.domain}`, version: "1.2.3", kernel: "6.12.0", backends: ["vxlan"] },
  ]),
);

const shown: ShownNetwork = {
  own: { ...OWN, publicAddresses: ["192.168.0.1"], backend: "vxlan" },
  peers: new Map(leases.map((lease) => [lease.key, lease])),
  profileOf: (nodeId) => (nodeId === null ? null : (profiles.get(nodeId) ?? null)),
  pathTo: () => "tunnel",
  healthOf: (peer) => {
    const found = health.get(peer);
    if (found === undefined) throw new Error(`there is no ${peer}`);
    return found;
  },
};
const logger = createLogger({ level: "info", format: "text", now: () => new Date() });
const faults = new Faults(logger);
const environment = { log: logger, clock: systemClock, random: Math.random, dateMs: Date.now };
const stop = new AbortController();
const store = openMemoryStore(new MemoryHolder(systemClock), environment).network("/test");
for (const from of new Set(scene.reported.map(([host]) => host))) {
  const paths = scene.reported
    .filter(([host]) => host === from)
    .map(([, to]) => ({ peer: leases[to - 1]?.key ?? OWN.key, cause: "tunnel-filtered", seen: SEEN }));
  const record = encodeHealth(paths);
  if (from !== 0 && record !== null)
    await store.records.write(healthRecordName(nodeIdOf(from)), record, null, stop.signal);
}
await PageService.start(
  {
    settings: { address: Address.parse(scene.address), port: scene.port, tokenFile: scene.tokenFile },
    ...{ clock: systemClock, logger, faults, dateMs: Date.now, version: "0", events: new EventLog() },
    store,
    network: () => shown,
    report: () => ({ name: null, isReady: true, summary: "a scene", status: null }),
    named: () => null,
    files: readPageFiles(scene.folder),
  },
  stop.signal,
);
let lateMs = 0;
let lastMs = systemClock.monotonicMs();
if (scene.isWatched)
  setInterval(() => {
    const nowMs = systemClock.monotonicMs();
    lateMs = Math.max(lateMs, nowMs - lastMs - 10);
    lastMs = nowMs;
  }, 10);
process.on("SIGUSR1", () => {
  const { user, system } = process.cpuUsage();
  const usage: PageUsage = {
    cpuMs: (user + system) / 1000,
    rssBytes: process.memoryUsage.rss(),
    monotonicMs: systemClock.monotonicMs(),
    lateMs,
  };
  lateMs = 0;
  process.stdout.write(`${JSON.stringify(usage)}\n`);
});
process.stdout.write("ready\n");
