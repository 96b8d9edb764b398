/** The record of a subnet in use: written at once, kept young, and never at the cost of the lease. */

import { afterEach, describe, expect, it } from "vitest";
import { StoreError } from "../../../ipam/errors.ts";
import {
  keepAffinity,
  readAffinities,
  recordAffinity,
  removeOldAffinities,
} from "../../../ipam/leases/affinity.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import {
  attrs,
  memoryStore,
  nodeId,
  recordingLogger,
  subnets,
  watchedStore,
} from "../../support/lease-fixture.ts";

const KEY = "10.2.9.0-24";
const DAY_MS = 86_400_000;
let stop = new AbortController();

afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

function lab() {
  const clock = new FakeClock();
  const store = memoryStore(clock);
  const problem: { current: Error | null } = { current: null };
  const { store: watched, calls } = watchedStore(store, () => {
    if (problem.current !== null) throw problem.current;
  });
  const logger = recordingLogger();
  const own = { key: KEY, attrs: attrs(1), createRevision: 1n, isOthers: false };
  const current = () => (own.isOthers ? null : { ...own });
  void keepAffinity({ records: watched.records, current, clock, logger }, stop.signal);
  return { clock, store, problem, calls, logger, own };
}

describe("keeping an affinity", () => {
  it("writes once, and once a day after that", async () => {
    const { clock, store, calls } = lab();
    await settle();
    const first = await store.records.read(`affinity/${KEY}`, stop.signal);
    await clock.advance(DAY_MS - 1);
    // The list is for the number of records, which the new one has raised.
    expect(calls).toEqual(["records.read", "records.write", "records.list"]);
    await clock.advance(1);
    const second = await store.records.read(`affinity/${KEY}`, stop.signal);
    expect(second?.value).toBe(first?.value);
    expect(second?.revision).toBeGreaterThan(first?.revision ?? 0n);
    expect(calls.slice(3)).toEqual(["records.read", "records.write"]);
  });

  it("writes soon after the host has taken another subnet", async () => {
    const { clock, store, own } = lab();
    await settle();
    own.key = "10.2.77.0-24";
    await clock.advance(60_000);
    expect((await readAffinities(store.records, nodeId(1), stop.signal)).own).toEqual([
      subnets("10.2.77.0-24"),
      subnets(KEY),
    ]);
  });

  it("writes again soon after the store lost the lease, and with it perhaps the record", async () => {
    const { clock, store, calls, own } = lab();
    await settle();
    await removeOldAffinities(store.records, stop.signal, 0);
    own.createRevision = 7n;
    await clock.advance(60_000);
    expect((await readAffinities(store.records, nodeId(1), stop.signal)).own).toEqual([subnets(KEY)]);
    expect(calls.filter((call) => call === "records.list")).toHaveLength(1);
  });

  it("leaves the record to another host while that has the lease, and writes soon after that", async () => {
    const { clock, store, own } = lab();
    await settle();
    own.isOthers = true;
    await recordAffinity(store.records, KEY, attrs(2), stop.signal);
    await clock.advance(2 * DAY_MS);
    expect((await readAffinities(store.records, nodeId(2), stop.signal)).own).toEqual([subnets(KEY)]);
    own.isOthers = false;
    await clock.advance(60_000);
    expect((await readAffinities(store.records, nodeId(1), stop.signal)).own).toEqual([subnets(KEY)]);
  });

  it("writes a record again that another host removes as an old one meanwhile", async () => {
    const { store } = lab();
    await settle();
    const { store: slow } = watchedStore(store, async (method) => {
      if (method === "records.write") await removeOldAffinities(store.records, stop.signal, 0);
    });
    await recordAffinity(slow.records, KEY, attrs(1), stop.signal);
    expect((await readAffinities(store.records, nodeId(1), stop.signal)).own).toEqual([subnets(KEY)]);
  });

  it("tries again in a minute, and says once that it could not", async () => {
    const { clock, problem, store, logger } = lab();
    await settle();
    problem.current = new StoreError("away", { code: "TULLE_STORE_UNREACHABLE", retryable: true });
    await clock.advance(DAY_MS + 5 * 60_000);
    expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    problem.current = null;
    const before = (await store.records.read(`affinity/${KEY}`, stop.signal))?.revision ?? 0n;
    await clock.advance(60_000);
    expect((await store.records.read(`affinity/${KEY}`, stop.signal))?.revision).toBeGreaterThan(before);
    expect(logger.lines.at(-1)).toMatchObject({ level: "info" });
  });

  it("yields to whoever wrote the record in between", async () => {
    const { store } = lab();
    await settle();
    const { store: slow } = watchedStore(store, async (method) => {
      if (method === "records.write") await recordAffinity(store.records, KEY, attrs(2), stop.signal);
    });
    await recordAffinity(slow.records, KEY, attrs(1), stop.signal);
    expect((await readAffinities(store.records, nodeId(2), stop.signal)).own).toEqual([subnets(KEY)]);
  });

  it("answers a host's own subnets, the latest first", async () => {
    const { store } = lab();
    await settle();
    for (const key of ["10.2.3.0-24", "10.2.4.0-24"])
      await recordAffinity(store.records, key, attrs(5), stop.signal);
    const { own, used } = await readAffinities(store.records, nodeId(5), stop.signal);
    expect(own).toEqual([subnets("10.2.4.0-24"), subnets("10.2.3.0-24")]);
    expect(used).toEqual([KEY, "10.2.3.0-24", "10.2.4.0-24"].map(subnets));
  });

  it("removes the longest unused records beyond the limit, and none that changes meanwhile", async () => {
    const { store } = lab();
    await settle();
    const record = (n: number) => recordAffinity(store.records, `10.2.${n}.0-24`, attrs(n), stop.signal);
    for (let n = 100; n < 140; n++) await record(n);
    await record(100);
    const keysAfter = async (most: number) => {
      await removeOldAffinities(store.records, stop.signal, most);
      return (await store.records.list("affinity/", stop.signal)).map(({ key }) => key.slice(9));
    };
    expect(await keysAfter(41)).toHaveLength(41);
    const kept = await keysAfter(39);
    expect(kept).toHaveLength(39);
    expect(kept).toContain("10.2.100.0-24");
    for (const gone of [KEY, "10.2.101.0-24"]) expect(kept).not.toContain(gone);
    expect(await keysAfter(0)).toHaveLength(39 - 16);

    const { store: slow } = watchedStore(store, async (method) => {
      if (method === "records.remove") await record(117);
    });
    await removeOldAffinities(slow.records, stop.signal, 22);
    expect(await keysAfter(23)).toContain("10.2.117.0-24");
  });
});
