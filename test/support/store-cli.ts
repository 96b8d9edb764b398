/** The command line on a store of each test. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import { openFileStore } from "../../ipam/stores/file/store.ts";
import { type CliAnswer, runCli } from "./cli.ts";

export const { signal } = new AbortController();

export const NODE_ID = "0123456789abcdef0123456789abcdef";

export let directory: string;

/** Makes a folder for the store before each test of a file, and removes it after. */
export function useStoreFolder(): void {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "tulle-network-"));
  });
  afterEach(() => rm(directory, { recursive: true }));
}

/** A command on this test's store. */
export const tulle = (...args: string[]): Promise<CliAnswer> =>
  runCli([...args, `--store=file:${directory}/store`]);

export function store(): NetworkStore {
  const environment = { log: silentLogger, clock: systemClock, random: () => 0.5, dateMs: () => 0 };
  return openFileStore(`${directory}/store`, environment).network("/coreos.com/network");
}

export function leaseValue(host: number, data: object = {}): string {
  return JSON.stringify({
    PublicIP: `192.168.1.${host}`,
    PublicIPv6: null,
    BackendType: "vxlan",
    BackendData: { VNI: 1, VtepMAC: `02:00:00:00:00:${host.toString(16).padStart(2, "0")}` },
    ...data,
  });
}

export const addLease = (key: string, value: string, ttlSeconds = 3600) =>
  store().leases.create(key, value, ttlSeconds, signal);

/** What the host with the node id says of itself. */
export const HOST = { name: "node7", version: "0.1.0", kernel: "6.1.0", backends: ["alloc", "vxlan"] };

export async function initNetwork(): Promise<void> {
  const { code } = await tulle("net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24");
  expect(code).toBe(0);
}
