/** LeaseFeed (ipam/stores/contracts.ts), checked against every store. */

import { expect, it } from "vitest";
import type { StoreMessage } from "../../../ipam/stores/contracts.ts";
import { SOON } from "../../support/patience.ts";
import { describeStores } from "../../support/stores/conformance.ts";
import { WatchLog } from "../../support/watch-log.ts";

const signal = AbortSignal.timeout(300_000);

await describeStores("lease feed", (store) => {
  it("lists leases and configuration", async () => {
    const { feed, leases, config } = store.network();
    expect(await feed.list(signal)).toMatchObject({ entries: [], config: null });
    const entry = await leases.create("10.1.1.0-24", "a", 60, signal);
    await config.write("{}", null, signal);
    expect(await feed.list(signal)).toMatchObject({ entries: [entry], config: "{}" });
  });

  it("keeps networks apart, also those whose names begin alike, and drops a closing slash", async () => {
    store.network();
    const network = (prefix: string) => store.connection.network(prefix);
    const entry = await network(`${store.prefix}/`).leases.create("10.1.1.0-24", "a", 60, signal);
    for (const other of [`${store.prefix}2`, `${store.prefix}/subnets`, "/test"]) {
      expect((await network(other).feed.list(signal)).entries).toEqual([]);
    }
    expect((await network(store.prefix).feed.list(signal)).entries).toEqual([entry]);
    await network(store.prefix).leases.remove(entry, signal);
  });

  it("carries large values, any text and no text", async () => {
    const { feed, leases } = store.network();
    const values = { a: "x".repeat(store.factory.largestValue), b: "ü \u0000 \n 網 🌍", c: "" };
    for (const [key, value] of Object.entries(values)) await leases.create(key, value, 60, signal);
    const { entries } = await feed.list(signal);
    expect(Object.fromEntries(entries.map(({ key, value }) => [key, value]))).toEqual(values);
  });

  it("ignores folder keys, which user interfaces of stores create", async () => {
    const { feed, leases } = store.network();
    for (const folder of ["", "subnets/", "subnets/deep/", "tulle/"]) {
      await store.running.put(`${store.prefix}/${folder}`, "");
    }
    expect((await feed.list(signal)).entries).toEqual([]);
    const watched = new WatchLog({ feed });
    await expect.poll(() => watched.listings, SOON).toBe(1);
    await store.running.put(`${store.prefix}/subnets/later/`, "");
    const entry = await leases.create("10.1.1.0-24", "a", 60, signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "a" });
    expect((await feed.list(signal)).entries).toEqual([entry]);
    // With a value it is a stray key, which audits report.
    await store.running.put(`${store.prefix}/subnets/stray/`, "x");
    await expect.poll(() => watched.leases, SOON).toHaveProperty(["stray/"]);
    await watched.stop();
  });

  it("tells every change to each of two watchers, in order", async () => {
    const network = store.network();
    const watchers = [new WatchLog(network), new WatchLog(network)];
    const last = new Map<string, string>();
    for (let round = 0; round < 20; round += 1) {
      const key = `10.1.${round % 7}.0-24`;
      const entry = (await network.feed.list(signal)).entries.find((candidate) => candidate.key === key);
      if (entry) await network.leases.replace(entry, String(round), null, signal);
      else await network.leases.create(key, String(round), 60, signal);
      last.set(key, String(round));
    }
    for (const watched of watchers) {
      await expect.poll(() => watched.leases, SOON).toEqual(Object.fromEntries(last));
      await watched.stop();
    }
  });

  it("watches: a listing, then puts, deletes, the configuration and an expiry", async () => {
    const { feed, leases, config } = store.network();
    const stop = new AbortController();
    const messages: StoreMessage[] = [];
    const done = (async () => {
      for await (const message of feed.watch(stop.signal)) messages.push(message);
    })();
    const seen = (): string[] =>
      messages.flatMap((message) =>
        message.type === "list" ? ["list"] : message.changes.map((change) => change.type),
      );
    const until = async (...types: string[]) => {
      await expect.poll(seen, SOON).toEqual(types);
    };
    await until("list");
    const entry = await leases.create("10.1.1.0-24", "a", 60, signal);
    await until("list", "put");
    await leases.remove(entry, signal);
    await until("list", "put", "delete");
    await config.write("{}", null, signal);
    await until("list", "put", "delete", "config");
    const short = await leases.create("10.1.2.0-24", "a", 2, signal);
    expect(await leases.keepAlive(short, signal)).toBeGreaterThan(0);
    await until("list", "put", "delete", "config", "put", "delete");
    stop.abort();
    await done;
  });

  it("ends a listing soon after its signal fires", async () => {
    const stop = AbortSignal.abort(new Error("enough"));
    await expect(store.network().feed.list(stop)).rejects.toThrow("enough");
  });
});
