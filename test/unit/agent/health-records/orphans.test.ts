/** Health records that count, and those that are deleted. On a store in memory. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HealthFeed } from "../../../../agent/health-records/health-feed.ts";
import { deleteOrphans, LOOK_INTERVAL_MS } from "../../../../agent/health-records/orphans.ts";
import { encodeHealth, healthRecordName } from "../../../../agent/health-records/record.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import type { NetworkStore } from "../../../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "../../../support/fake-clock.ts";
import { nodeId, value } from "../../../support/lease-fixture.ts";
import { MemoryHolder, openMemoryStore } from "../../../support/stores/memory-store.ts";

const never = new AbortController().signal;
const VALUE = encodeHealth([{ peer: "10.2.3.0-24", cause: "host-down", seen: "is down" }]) ?? "";

describe("health records in the store", () => {
  let clock: FakeClock;
  let store: NetworkStore;
  let feed: HealthFeed;
  let stop: AbortController;
  let running: Promise<unknown>;
  let hosts: Set<string> | null;

  const put = async (name: string, value = VALUE): Promise<void> => {
    await store.records.write(name, value, await store.records.read(name, never), never);
    await settle();
  };
  const names = async (): Promise<readonly string[]> =>
    (await store.records.list("health/", never)).map(({ key }) => key);

  beforeEach(async () => {
    clock = new FakeClock();
    const environment = { log: silentLogger, clock, random: () => 0.5, dateMs: () => 0 };
    store = openMemoryStore(new MemoryHolder(clock), environment).network("/net");
    stop = new AbortController();
    hosts = new Set([nodeId(1)]);
    feed = new HealthFeed(store.records);
    const options = { store, clock, logger: silentLogger, records: () => feed.records, hosts: () => hosts };
    running = Promise.allSettled([feed.run(stop.signal), deleteOrphans(options, stop.signal)]);
    await settle();
  });
  afterEach(async () => {
    stop.abort();
    await running;
  });

  it("are followed, also to their end", async () => {
    await put(healthRecordName(nodeId(1)));
    expect(feed.records.get(nodeId(1))?.report?.bad[0]?.cause).toBe("host-down");
    const entry = await store.records.read(healthRecordName(nodeId(1)), never);
    if (entry !== null) await store.records.remove(entry, never);
    await settle();
    expect(feed.records.size).toBe(0);
  });

  it("have one problem together when they cannot be read, until they can", async () => {
    await put(healthRecordName(nodeId(1)), "{");
    await put("health/<b>bold</b>");
    await put("health/x", "\u202e".repeat(100_000));
    expect(feed.problem).toMatch(/^health record .* is ignored: .* \(and 2 more\); delete it$/);
    expect(feed.problem?.length).toBeLessThan(300);
    expect(feed.records.get(nodeId(1))?.report).toBeNull();
    await put(healthRecordName(nodeId(1)));
    expect(feed.problem).toContain("(and 1 more)");
  });

  it("of a host without lease are deleted after two looks", async () => {
    await put(healthRecordName(nodeId(1)));
    await put(healthRecordName(nodeId(2)));
    await clock.advance(LOOK_INTERVAL_MS);
    expect(await names()).toHaveLength(2);
    await clock.advance(LOOK_INTERVAL_MS);
    expect(await names()).toEqual([healthRecordName(nodeId(1))]);
  });

  it("stay when the store has a lease that this host does not know of", async () => {
    await store.leases.create("10.2.2.0-24", value(2), 86_400, never);
    await put(healthRecordName(nodeId(2)));
    await clock.advance(3 * LOOK_INTERVAL_MS);
    expect(await names()).toEqual([healthRecordName(nodeId(2))]);
  });

  it("stay while this host does not know the leases, and under names of others", async () => {
    hosts = null;
    await put(healthRecordName(nodeId(2)));
    await put("health/not-ours");
    await clock.advance(5 * LOOK_INTERVAL_MS);
    expect(await names()).toHaveLength(2);
  });
});
