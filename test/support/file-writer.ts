/**
 * A program for tests: counts up its own lease and a record that all writers share, in a file store, until it is
 * killed. Says each number once the store has acknowledged it.
 *
 *     file-writer DIRECTORY KEY
 */

import { writeSync } from "node:fs";
import { systemClock } from "../../ipam/clock.ts";
import { ConflictError } from "../../ipam/errors.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import { openFileStore } from "../../ipam/stores/file/store.ts";

const signal = new AbortController().signal;

const [, , directory = "", key = ""] = process.argv;
const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
const store = openFileStore(directory, environment).network("/test");
while (true) {
  const own = await countLease(store);
  await countShared(store);
  writeSync(1, `${own}\n`);
}

async function countLease(leases: NetworkStore): Promise<number> {
  const entry = (await leases.feed.list(signal)).entries.find((candidate) => candidate.key === key);
  const next = Number(entry?.value ?? 0) + 1;
  if (entry) await leases.leases.replace(entry, String(next), null, signal);
  else await leases.leases.create(key, String(next), 3_600, signal);
  return next;
}

async function countShared(records: NetworkStore): Promise<void> {
  while (true) {
    const record = await records.records.read("shared", signal);
    try {
      await records.records.write("shared", String(Number(record?.value ?? 0) + 1), record, signal);
      return;
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
  }
}
