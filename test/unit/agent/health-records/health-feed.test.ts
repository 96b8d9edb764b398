/** What the page keeps of the health records of all hosts, however many there are. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { HealthFeed } from "../../../../agent/health-records/health-feed.ts";
import { healthRecordName } from "../../../../agent/health-records/record.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import type { Records } from "../../../../ipam/stores/contracts.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { nodeId } from "../../../support/lease-fixture.ts";
import { SOON } from "../../../support/patience.ts";
import { MemoryHolder, openMemoryStore } from "../../../support/stores/memory-store.ts";

const PATHS = 250;
/** As many records as have 100,000 paths. */
const ENOUGH = 400;
const bad = Array.from({ length: PATHS }, (_, index) => ({
  peer: `10.2.${index}.0-24`,
  cause: "host-down",
  seen: "is down",
}));

let records: Records;
let feed: HealthFeed;
let stop: AbortController;
let running: Promise<void>;
beforeEach(() => {
  const clock = new FakeClock();
  const environment = { log: silentLogger, clock, random: () => 0.5, dateMs: () => 0 };
  records = openMemoryStore(new MemoryHolder(clock), environment).network("/net").records;
  feed = new HealthFeed(records);
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort(new Error("the test has ended"));
  await running.catch(() => undefined);
});

const write = (number: number) =>
  records.write(healthRecordName(nodeId(number)), JSON.stringify({ version: 1, bad }), null, stop.signal);
const reportOf = (number: number) => feed.records.get(nodeId(number))?.report;

it("counts the paths of records beyond a bound, and takes others when some are gone", async () => {
  const first = await write(1);
  for (let number = 2; number <= ENOUGH + 1; number += 1) await write(number);
  running = feed.run(stop.signal);
  await expect.poll(() => feed.records.size, SOON).toBe(ENOUGH + 1);
  const lengths = [...feed.records.values()].map(({ report }) => report?.bad.length);
  expect(lengths.filter((length) => length === PATHS)).toHaveLength(ENOUGH);
  const counted = [...feed.records.values()].find(({ report }) => report?.bad.length === 0);
  expect(counted?.report?.others).toBe(PATHS);

  await records.remove(first, stop.signal);
  await write(ENOUGH + 2);
  await expect.poll(() => reportOf(ENOUGH + 2)?.bad.length, SOON).toBe(PATHS);
  expect(feed.problem).toBeNull();
});
