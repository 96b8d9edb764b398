/** When a host writes its health record: as seldom as it may, and never for measured values. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  HealthWriter,
  LOOK_INTERVAL_MS,
  WRITE_INTERVAL_MS,
} from "../../../../agent/health-records/health-writer.ts";
import { type BadPath, decodeHealth, healthRecordName } from "../../../../agent/health-records/record.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import type { Records } from "../../../../ipam/stores/contracts.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { MemoryHolder, openMemoryStore } from "../../../support/stores/memory-store.ts";

const NODE = "0123456789abcdef0123456789abcdef";
const NAME = healthRecordName(NODE);
const never = new AbortController().signal;
const path = (number: number, seen = "is down"): BadPath => ({
  peer: `10.2.${number}.0-24`,
  cause: "host-down",
  seen,
});

describe("the writer of a health record", () => {
  let clock: FakeClock;
  let records: Records;
  let stop: AbortController;
  let running: Promise<void>;
  let writer: HealthWriter;
  let bad: BadPath[];
  let writes: number;
  let reads: number;
  let failure: Error | null;

  const counted = (inner: Records): Records => ({
    list: (...args) => inner.list(...args),
    watch: (...args) => inner.watch(...args),
    keepAlive: (...args) => inner.keepAlive(...args),
    read: (...args) => {
      reads += 1;
      return inner.read(...args);
    },
    write: (...args) => {
      writes += 1;
      return failure === null ? inner.write(...args) : Promise.reject(failure);
    },
    remove: (...args) => {
      writes += 1;
      return inner.remove(...args);
    },
  });
  const stored = async (): Promise<readonly string[] | null> => {
    const entry = await records.read(NAME, never);
    return entry === null ? null : decodeHealth(entry.value).bad.map(({ peer }) => peer);
  };
  const set = (...paths: BadPath[]): void => {
    bad = paths;
    writer.changed();
  };

  beforeEach(() => {
    clock = new FakeClock();
    const environment = { log: silentLogger, clock, random: () => 0.5, dateMs: () => 0 };
    records = openMemoryStore(new MemoryHolder(clock), environment).network("/net").records;
    stop = new AbortController();
    bad = [];
    writes = 0;
    reads = 0;
    failure = null;
    writer = new HealthWriter({
      records: counted(records),
      clock,
      logger: silentLogger,
      nodeId: () => NODE,
      badPaths: () => bad,
    });
    running = writer.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await running;
  });

  it("writes nothing in a healthy network", async () => {
    for (let minute = 0; minute < 60; minute += 1) {
      writer.changed();
      await clock.advance(60_000);
    }
    expect(writes).toBe(0);
    expect(reads).toBe(1);
  });

  it("writes when a path turns bad, and removes the record when all are good", async () => {
    await clock.advance(WRITE_INTERVAL_MS);
    set(path(1));
    await clock.advance(0);
    expect(await stored()).toEqual(["10.2.1.0-24"]);
    set();
    await clock.advance(WRITE_INTERVAL_MS);
    expect(await stored()).toBeNull();
    expect(writes).toBe(2);
  });

  it("writes once in ten seconds at most, and the latest in the end", async () => {
    await clock.advance(WRITE_INTERVAL_MS);
    for (let second = 0; second < 100; second += 1) {
      set(...(second % 2 === 0 ? [path(1)] : [path(1), path(2)]));
      await clock.advance(1_000);
    }
    expect(writes).toBeGreaterThan(3);
    expect(writes).toBeLessThanOrEqual(11);
    await clock.advance(WRITE_INTERVAL_MS);
    expect(await stored()).toEqual(["10.2.1.0-24", "10.2.2.0-24"]);
  });

  it("does not write again when only what was measured differs", async () => {
    set(path(1, "loses packets; 1200 bytes pass"));
    await clock.advance(WRITE_INTERVAL_MS);
    expect(writes).toBe(1);
    set(path(1, "loses packets; 1210 bytes pass"));
    await clock.advance(60_000);
    expect(writes).toBe(1);
  });

  it("removes what a former run left behind", async () => {
    await records.write(NAME, '{"version":1,"bad":[]}', null, never);
    await clock.advance(WRITE_INTERVAL_MS);
    expect(await stored()).toBeNull();
  });

  it("writes over what another wrote in its place", async () => {
    set(path(1));
    await clock.advance(WRITE_INTERVAL_MS);
    await records.write(NAME, "damage", await records.read(NAME, never), never);
    set(path(1), path(2));
    await clock.advance(3 * WRITE_INTERVAL_MS);
    expect(await stored()).toEqual(["10.2.1.0-24", "10.2.2.0-24"]);
  });

  it("tries again after a failure, not more often", async () => {
    failure = new Error("the store is away");
    set(path(1));
    await clock.advance(10 * WRITE_INTERVAL_MS);
    expect(writes).toBeLessThanOrEqual(10);
    failure = null;
    await clock.advance(WRITE_INTERVAL_MS);
    expect(await stored()).toEqual(["10.2.1.0-24"]);
  });

  it("removes what arrives late of a write that had no answer", async () => {
    failure = new Error("no answer");
    set(path(1));
    await clock.advance(WRITE_INTERVAL_MS);
    failure = null;
    set();
    await clock.advance(2 * WRITE_INTERVAL_MS);
    await records.write(NAME, JSON.stringify({ version: 1, bad: [path(1)] }), null, never);
    await clock.advance(60_000);
    expect(await stored()).toBeNull();
    reads = 0;
    await clock.advance(24 * 3_600_000);
    expect(reads).toBeLessThan(250);
  });

  it("withdraws its record at the end", async () => {
    set(path(1));
    await clock.advance(WRITE_INTERVAL_MS);
    stop.abort();
    await running;
    await writer.withdraw(never);
    expect(await stored()).toBeNull();
  });

  it("notices that its record was deleted, and one that others wrote", async () => {
    set(path(2, "is down: 9 packets"));
    await clock.advance(2 * WRITE_INTERVAL_MS);
    const entry = await records.read(NAME, never);
    if (entry === null) throw new Error("it is there");
    await records.remove(entry, never);
    bad = [path(2, "is down: 12 packets")];
    await clock.advance(LOOK_INTERVAL_MS + WRITE_INTERVAL_MS);
    expect(await stored()).toEqual([path(2).peer]);
    writes = 0;
    await clock.advance(3 * LOOK_INTERVAL_MS);
    expect(writes).toBe(0);

    set();
    await clock.advance(2 * WRITE_INTERVAL_MS);
    expect(await stored()).toBeNull();
    await records.write(NAME, entry.value, null, never);
    await clock.advance(LOOK_INTERVAL_MS + WRITE_INTERVAL_MS);
    expect(await stored()).toBeNull();
  });
});
