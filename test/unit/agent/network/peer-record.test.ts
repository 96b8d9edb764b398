/** The record of known peers: what a restart finds in it beside the store's listing, and when it is written. */

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { PeerRecord, type RecordedTable } from "../../../../agent/network/peer-record.ts";
import { markLeaving } from "../../../../ipam/leases/lease-codec.ts";
import type { StoreEntry } from "../../../../ipam/stores/contracts.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { entry, recordingLogger } from "../../../support/lease-fixture.ts";
import { hosts, peerTableLab } from "../../../support/peer-table-lab.ts";

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "tulle-peers-"));
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

const path = (): string => join(stateDir, "peers.json");

function load({ clock = new FakeClock(), logger = recordingLogger() } = {}): PeerRecord {
  return new PeerRecord({ stateDir, name: null, clock, logger });
}

/** As a run that knew the peers of the table and has ended. */
async function record(table: RecordedTable): Promise<void> {
  const former = load();
  former.note(table);
  await former.run(AbortSignal.abort());
}

async function recordHosts(count: number): Promise<void> {
  const { list, table } = peerTableLab();
  list(hosts(count));
  await record(table);
}

const keysBeyond = (listing: readonly StoreEntry[]): readonly (readonly [string, number | null])[] =>
  load()
    .read(listing)
    .map(({ lease, untilMs }) => [lease.key, untilMs] as const);

it("names all that vanished where most did, to be kept as long as those that vanish now", async () => {
  await recordHosts(10);
  const all = hosts(10).map(({ key }) => [key, Number.POSITIVE_INFINITY]);
  expect(keysBeyond([])).toEqual(all);
  expect(keysBeyond(hosts(4))).toEqual(all.slice(4));
});

it.each([
  ["all are there", 10, 10],
  ["half of them are", 10, 5],
  ["there were three", 3, 0],
  ["there were none", 0, 0],
])("names none where %s", async (_, before, after) => {
  await recordHosts(before);
  expect(existsSync(path())).toBe(before > 0);
  expect(keysBeyond(hosts(after))).toEqual([]);
});

it("names peers that have another value, which may be damaged", async () => {
  await recordHosts(10);
  const [first, ...others] = hosts(10) as [StoreEntry, ...StoreEntry[]];
  expect(keysBeyond([{ ...first, value: "{", revision: 900n }, ...others])).toEqual([[first.key, null]]);
});

it("leaves out a lease that its host gave up", async () => {
  const { list, put, table } = peerTableLab();
  list(hosts(5));
  put({ ...entry("10.2.2.0-24", 2), value: markLeaving(entry("10.2.2.0-24", 2).value), revision: 900n });
  await record(table);
  expect(keysBeyond([])).toHaveLength(4);
});

it("gives peers that are held to the next run, and does not count them again", async () => {
  const { list, table } = peerTableLab();
  list(hosts(10));
  list(hosts(4), 1_000);
  await record(table);
  const known = load().read(hosts(3));
  expect(known).toEqual(table.heldPeers);
  expect(known).toHaveLength(6);
});

it("is written 10 s after a change, and at once for peers that are newly held", async () => {
  const clock = new FakeClock();
  const running = load({ clock });
  const { list, put, table } = peerTableLab();
  const stop = new AbortController();
  const ended = running.run(stop.signal);
  const written = async (): Promise<string | null> => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return existsSync(path()) ? await readFile(path(), "utf8") : null;
  };
  list(hosts(10));
  running.note(table);
  await clock.advance(9_999);
  expect(await written()).toBeNull();
  await clock.advance(1);
  const first = await written();
  expect(first).toContain("10.2.11.0-24");
  running.note(table);
  await clock.advance(60_000);
  expect(await written()).toBe(first);

  list([], 1_000);
  running.note(table);
  await clock.advance(0);
  await expect.poll(() => keysBeyond([])).toContainEqual(["10.2.2.0-24", 31_000]);

  // It was back, and is held again.
  put(entry("10.2.2.0-24", 2, { revision: 900n }), 2_000);
  running.note(table);
  list([], 3_000);
  running.note(table);
  await clock.advance(0);
  await expect.poll(() => keysBeyond([])).toContainEqual(["10.2.2.0-24", 15_000]);

  list([entry("10.2.2.0-24", 2, { revision: 901n })], 4_000);
  table.expire(40_000);
  running.note(table);
  stop.abort();
  await ended;
  expect(JSON.parse(await readFile(path(), "utf8")).peers).toHaveLength(1);
});

it("is removed with the last peer", async () => {
  await recordHosts(10);
  await recordHosts(0);
  expect(existsSync(path())).toBe(false);
});

it("is written at the next occasion where it could not be", async () => {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const missing = join(stateDir, "missing");
  const running = new PeerRecord({ stateDir: missing, name: null, clock, logger });
  const { list, table } = peerTableLab();
  list(hosts(10));
  running.note(table);
  const stop = new AbortController();
  const ended = running.run(stop.signal);
  await clock.advance(25_000);
  expect(logger.lines).toMatchObject([{ level: "warn", fields: { path: join(missing, "peers.json") } }]);
  stop.abort();
  await ended;
});

it.each([
  "",
  "{}",
  '{"peers":[1]}',
  '{"peers":[{"key":"10.2.2.0-24","untilMs":5}]}',
  '{"peers":[{"key":"10.2.2.0-24","value":"{}","revision":"x","createRevision":"1","storeLeaseId":null,"untilMs":1}]}',
])("that is damaged, %j, is logged and names none", async (text) => {
  await writeFile(path(), text);
  const logger = recordingLogger();
  expect(load({ logger }).read([])).toEqual([]);
  expect(logger.lines).toMatchObject([{ level: "warn", message: "record of peers is ignored" }]);
  expect(await readFile(path(), "utf8")).toBe(text);
});
