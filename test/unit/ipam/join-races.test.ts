/** Hosts that join at once, wait for a subnet, or miss an answer of the store. */

import { describe, expect, it } from "vitest";
import { StoreError } from "../../../ipam/errors.ts";
import { join } from "../../../ipam/leases/join.ts";
import type { NetworkStore } from "../../../ipam/stores/contracts.ts";
import { settle } from "../../support/fake-clock.ts";
import { lab, networkOf, signal } from "../../support/join-lab.ts";
import {
  joinOptions,
  joinPatiently,
  network,
  recordingLogger,
  subnets,
  value,
  watchedStore,
} from "../../support/lease-fixture.ts";

describe("two hosts at once", () => {
  it("give a subnet to the one whose key was created first", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const previous = subnets("10.2.9.0-24");
    const join1 = join(joinOptions(store, clock, 1, { previous }), listing, signal);
    const join2 = join(joinOptions(store, clock, 2, { previous }), listing, signal);
    const [first, second] = await Promise.all([join1, join2]);
    expect([first.entry.key, second.entry.key].filter((key) => key === "10.2.9.0-24")).toHaveLength(1);
    expect((await store.feed.list(signal)).entries).toHaveLength(2);
  });

  it("give up the younger of two leases that overlap", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const { store: watched } = watchedStore(store, async (method, key) => {
      if (method === "leases.create" && key === "10.2.9.0-24")
        await store.leases.create("10.2.8.0-23", value(7), 60, signal);
    });
    const previous = subnets("10.2.9.0-24");
    const membership = await join(joinOptions(watched, clock, 1, { previous }), listing, signal);
    expect(membership.origin).toBe("new subnet");
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(keys.sort()).toEqual([membership.entry.key, "10.2.8.0-23"].sort());
  });

  it("keep the older one, whatever comes after it", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const { store: watched } = watchedStore(store, async (method) => {
      if (method === "leases.listCreatedAfter")
        await store.leases.create("10.2.8.0-23", value(7), 60, signal);
    });
    const previous = subnets("10.2.9.0-24");
    const membership = await join(joinOptions(watched, clock, 1, { previous }), listing, signal);
    expect(membership.entry.key).toBe("10.2.9.0-24");
  });
});

describe("a hundred hosts at once", () => {
  async function enterAll(hosts: number, config: ReturnType<typeof network>) {
    const { store, clock } = lab();
    const { store: watched, calls } = watchedStore(store);
    const listing = await store.feed.list(signal);
    const results = await Promise.allSettled(
      Array.from({ length: hosts }, (_, n) =>
        join(joinOptions(watched, clock, n + 1, { config }), listing, signal),
      ),
    );
    return { store, results, creates: calls.filter((call) => call === "leases.create").length };
  }

  it("rarely want the same subnet of a /16", async () => {
    const { store, creates } = await enterAll(100, network());
    expect((await store.feed.list(signal)).entries).toHaveLength(100);
    // By chance 100 of 255 places collide about 17 times; a common order would collide thousands of times.
    expect(creates - 100).toBeLessThan(50);
  });

  it("all get one of exactly a hundred subnets", async () => {
    const { store, results } = await enterAll(100, networkOf(100));
    expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(new Set(keys).size).toBe(100);
  });

  it("leave exactly one without when there are 99, which says the numbers", async () => {
    const { results } = await enterAll(100, networkOf(99));
    const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatchObject({ code: "TULLE_NO_FREE_SUBNET", retryable: true });
    expect(String(failed[0].message)).toContain("all 99 subnets /24 from 10.2.1.0 to 10.2.99.0 are leased");
  });
});

describe("waiting for a subnet", () => {
  it("is said once, and ends when one is free", async () => {
    const { store, clock, enter } = lab();
    const config = networkOf(1);
    const holder = await enter(1, { config });
    const logger = recordingLogger();
    const options = joinOptions(store, clock, 2, { config, logger });
    const joining = joinPatiently(options, signal);
    await clock.advance(20_000);
    expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(logger.lines[0]?.fields).toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
    await store.leases.remove(holder.entry, signal);
    await clock.advance(30_000);
    expect((await joining).entry.key).toBe("10.2.1.0-24");
  });

  it("ends in an error when the configuration changes meanwhile", async () => {
    const { store, clock, enter } = lab();
    const config = networkOf(1);
    await enter(1, { config });
    await store.config.write('{"Network":"10.2.0.0/16"}', null, signal);
    const options = joinOptions(store, clock, 2, { config });
    const joining = joinPatiently(options, signal);
    const outcome = expect(joining).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    await settle();
    await clock.advance(1000);
    await outcome;
  });
});

describe("an answer that got lost", () => {
  it("is found again as our own lease", async () => {
    const { store, clock } = lab();
    let isFirst = true;
    const lossy: NetworkStore = {
      ...store,
      leases: {
        ...store.leases,
        create: async (...parameters) => {
          const created = await store.leases.create(...parameters);
          if (!isFirst) return created;
          isFirst = false;
          throw new StoreError("no answer", { retryable: true, details: { outcomeUnknown: true } });
        },
      },
    };
    const options = joinOptions(lossy, clock, 1);
    const joining = joinPatiently(options, signal);
    await clock.advance(2000);
    expect((await joining).origin).toBe("kept");
    expect((await store.feed.list(signal)).entries).toHaveLength(1);
  });
});
