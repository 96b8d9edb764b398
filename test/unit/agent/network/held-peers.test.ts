/** The record of held peers: what a restart finds in it, and when it is written. */

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { HeldPeers } from "../../../../agent/network/held-peers.ts";
import type { HeldPeer } from "../../../../ipam/leases/departures.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";
import { hosts, peerTableLab } from "../../../support/peer-table-lab.ts";

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "tulle-held-"));
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

const load = (log = recordingLogger()): HeldPeers => new HeldPeers({ stateDir, name: null }, log);
const path = (): string => join(stateDir, "held.json");

function held(): readonly HeldPeer[] {
  const { list, table } = peerTableLab();
  list(hosts(10));
  list([], 1_000);
  return table.heldPeers;
}

it("gives the same peers to the next run", async () => {
  const heldPeers = held();
  const record = load();
  record.note({ heldPeers });
  await record.settled();
  expect(load().read()).toEqual(heldPeers);
});

it("is written for peers that are new, or when half of them are back, and removed with the last", async () => {
  const heldPeers = held();
  const record = load();
  const recorded = async (count: number): Promise<number> => {
    record.note({ heldPeers: heldPeers.slice(0, count) });
    await record.settled();
    return load().read().length;
  };
  expect(await recorded(0)).toBe(0);
  expect(existsSync(path())).toBe(false);
  expect(await recorded(9)).toBe(9);
  expect(await recorded(5)).toBe(9);
  expect(await recorded(4)).toBe(4);
  expect(await recorded(10)).toBe(10);
  expect(await recorded(0)).toBe(0);
  expect(existsSync(path())).toBe(false);
});

it("is written for a peer that was back, with another value, and is held again", async () => {
  const heldPeers = held();
  const record = load();
  record.note({ heldPeers });
  const [first, ...others] = heldPeers;
  if (first === undefined) throw new Error("nobody is held");
  record.note({ heldPeers: others });
  const again = {
    lease: { ...first.lease, revision: first.lease.revision + 9n },
    untilMs: first.untilMs + 9_000,
  };
  record.note({ heldPeers: [...others, again] });
  await record.settled();
  expect(load().read()).toEqual([...others, again]);
});

it("of a former run is removed when nobody is held any more", async () => {
  const record = load();
  record.note({ heldPeers: held() });
  await record.settled();
  const next = load();
  next.read();
  next.note({ heldPeers: [] });
  await next.settled();
  expect(existsSync(path())).toBe(false);
});

it.each([
  "",
  "{}",
  '{"peers":[1]}',
  '{"peers":[{"key":"10.2.2.0-24"}]}',
  '{"peers":[{"key":"10.2.2.0-24","value":"{}","revision":"x","createRevision":"1","storeLeaseId":null,"untilMs":1}]}',
])("that is damaged, %j, is logged and names none", async (text) => {
  await writeFile(path(), text);
  const log = recordingLogger();
  expect(load(log).read()).toEqual([]);
  expect(log.lines).toMatchObject([{ level: "warn", message: "record of held peers is ignored" }]);
  expect(await readFile(path(), "utf8")).toBe(text);
});
