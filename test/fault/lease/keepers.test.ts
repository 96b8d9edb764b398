/** A hundred hosts in two processes on one etcd that is killed and hung again and again. */

import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../ipam/clock.ts";
import { parseLeaseKey } from "../../../ipam/leases/lease-codec.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreConnection, StoreEntry } from "../../../ipam/stores/contracts.ts";
import { openEtcdStore } from "../../../ipam/stores/etcd/store.ts";
import { type EtcdCluster, missingEtcd, startEtcd } from "../../support/etcd.ts";
import type { HostReport } from "./keeper-process.ts";

const PREFIX = "/keepers/network";
const TTL_SECONDS = 5;
const PROCESSES = 2;
const HOSTS_EACH = 50;
const HOSTS = PROCESSES * HOSTS_EACH;
/** Generous: the benchmark measures how long it takes. */
const PATIENCE_MS = 30_000;
/** Beside node_modules, so that the program finds the libraries. */
const PROGRAM_DIR = join(import.meta.dirname, "../../../node_modules/.cache", `tulle-keepers-${process.pid}`);

const missing = missingEtcd();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)(`${HOSTS} lease keepers${missing === null ? "" : ` (${missing})`}`, () => {
  let etcd: EtcdCluster;
  let connection: StoreConnection;
  const keepers: ChildProcess[] = [];
  const signal = AbortSignal.timeout(170_000);

  beforeAll(async () => {
    etcd = await startEtcd();
    const [endpoint = ""] = etcd.endpoints;
    connection = openEtcdStore(
      { endpoints: [endpoint] },
      { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now },
    );
    const config = '{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}';
    await connection.network(PREFIX).config.write(config, null, signal);
    const program = await buildProgram();
    for (let index = 0; index < PROCESSES; index++) {
      const first = 1 + index * HOSTS_EACH;
      keepers.push(fork(program, [endpoint, PREFIX, first, HOSTS_EACH, TTL_SECONDS].map(String)));
    }
  });

  afterAll(async () => {
    for (const keeper of keepers) keeper.kill("SIGKILL");
    await connection?.close();
    await etcd?.stop();
    rmSync(PROGRAM_DIR, { recursive: true, force: true });
  });

  async function reports(): Promise<HostReport[]> {
    return (await Promise.all(keepers.map(askForReport))).flat();
  }

  async function entries(): Promise<readonly StoreEntry[]> {
    return (await connection.network(PREFIX).feed.list(signal)).entries;
  }

  /** Every host holds its lease, knows all others, and the store says the same. */
  async function untilWhole(): Promise<HostReport[]> {
    const deadlineMs = systemClock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      const all = await reports();
      const isWhole = all.every(({ state, peers }) => state === "held" && peers === HOSTS - 1);
      if (all.length === HOSTS && isWhole && (await isInStore(all))) return all;
      if (systemClock.monotonicMs() > deadlineMs) {
        const odd = all.filter(({ state, peers }) => state !== "held" || peers !== HOSTS - 1);
        throw new Error(`not whole again: ${JSON.stringify(odd.slice(0, 3))} and ${odd.length} in all`);
      }
      await delay(100);
    }
  }

  async function isInStore(all: readonly HostReport[]): Promise<boolean> {
    const byKey = new Map((await entries()).map((entry) => [entry.key, entry.value]));
    return all.every(({ key, nodeId }) => key !== null && byKey.get(key)?.includes(nodeId));
  }

  function expectNoDuplicates(stored: readonly StoreEntry[], all: readonly HostReport[]): void {
    expect(stored).toHaveLength(HOSTS);
    expect(new Set(all.map(({ key }) => key)).size).toBe(HOSTS);
    const subnets = stored.flatMap(({ key }) => parseLeaseKey(key)[4] ?? []);
    for (const [index, subnet] of subnets.entries()) {
      expect(subnets.filter((other, place) => place > index && other.overlaps(subnet))).toEqual([]);
    }
  }

  it("start at once and get a subnet each", async () => {
    const all = await untilWhole();
    expectNoDuplicates(await entries(), all);
  });

  it.each([
    ["killed for 3 s", 3, "kill"],
    ["hung for 4 s", 4, "pause"],
    ["killed for longer than the leases last", 6, "kill"],
    ["hung for longer than the leases last", 6, "pause"],
  ] as const)("keep their subnets and their peers when etcd is %s", async (_, seconds, fault) => {
    const before = new Map((await untilWhole()).map(({ host, key }) => [host, key]));
    const [member] = etcd.members;
    if (fault === "kill") await member?.kill();
    else await member?.pause();
    await delay(seconds * 1000);
    if (fault === "kill") await member?.start();
    else member?.resume();
    const after = await untilWhole();
    // Whatever the store still has to expire, it does within one more time to live.
    await delay(TTL_SECONDS * 1000);
    const settled = await untilWhole();
    for (const all of [after, settled]) {
      expect(new Map(all.map(({ host, key }) => [host, key]))).toEqual(before);
      expect(all.filter(({ removed }) => removed > 0)).toEqual([]);
    }
    expectNoDuplicates(await entries(), settled);
  });
});

async function buildProgram(): Promise<string> {
  const outfile = join(PROGRAM_DIR, "keeper.mjs");
  mkdirSync(PROGRAM_DIR, { recursive: true });
  await build({
    entryPoints: [join(import.meta.dirname, "keeper-process.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    outfile,
  });
  return outfile;
}

async function askForReport(keeper: ChildProcess): Promise<HostReport[]> {
  return await new Promise((resolve, reject) => {
    keeper.once("message", (report) => resolve(report as HostReport[]));
    keeper.send("report", (error) => {
      if (error) reject(error);
    });
  });
}
