/** Records (ipam/stores/contracts.ts), checked against every store. */

import { expect, it } from "vitest";
import type { RecordMessage, Records } from "../../../ipam/stores/contracts.ts";
import { SOON } from "../../support/patience.ts";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);
const names = async (records: Records, folder: string) =>
  (await records.list(folder, signal)).map(({ key }) => key).sort();

/** A watcher's view of a folder: what its messages add up to. */
function follow(records: Records, folder: string) {
  const stop = new AbortController();
  const view = new Map<string, string>();
  let listings = 0;
  const fold = (message: RecordMessage): void => {
    if (message.type === "list") {
      listings += 1;
      view.clear();
      for (const { key, value } of message.entries) view.set(key, value);
    } else {
      for (const change of message.changes) {
        if (change.type === "put") view.set(change.entry.key, change.entry.value);
        else view.delete(change.key);
      }
    }
  };
  const done = (async () => {
    for await (const message of records.watch(folder, stop.signal)) fold(message);
  })();
  return {
    view: () => Object.fromEntries(view),
    listings: () => listings,
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

await describeStores("records", (store) => {
  it("are written and removed only where they are as expected", async () => {
    const { records } = store.network();
    const first = await records.write("affinity/a", "1", null, signal);
    await expect(records.write("affinity/a", "x", null, signal)).rejects.toMatchObject({
      code: "TULLE_CONFLICT",
    });
    const second = await records.write("affinity/a", "2", first, signal);
    expect(second.createRevision).toBe(first.createRevision);
    await expect(records.write("affinity/a", "3", first, signal)).rejects.toMatchObject({
      code: "TULLE_CONFLICT",
    });
    await expect(records.remove(first, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
    expect(await records.read("affinity/a", signal)).toEqual(second);
    await records.remove(second, signal);
    await records.remove(second, signal);
    expect(await records.read("affinity/a", signal)).toBeNull();
  });

  it("are listed by folder, whole names, without folder keys, and are no leases", async () => {
    const { records, feed } = store.network();
    await records.write("networks/blue", "b", null, signal);
    await records.write("networks/red/members", "r", null, signal);
    await records.write("networks2", "n", null, signal);
    for (const folder of ["tulle/", "tulle/networks/", "tulle/networks/red/"]) {
      await store.running.put(`${store.prefix}/${folder}`, "");
    }
    expect(await names(records, "networks/")).toEqual(["networks/blue", "networks/red/members"]);
    expect(await names(records, "networks/red/")).toEqual(["networks/red/members"]);
    expect(await names(records, "")).toEqual(["networks/blue", "networks/red/members", "networks2"]);
    expect((await feed.list(signal)).entries).toEqual([]);
  });

  it("have names that stay inside their folder", async () => {
    const { records } = store.network();
    for (const name of ["", "/x", "x/", "x//y"]) {
      await expect(records.read(name, signal)).rejects.toMatchObject({ code: "TULLE_CONFIG" });
      await expect(records.write(name, "x", null, signal)).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    }
    for (const folder of ["x", "/", "x//"]) {
      await expect(records.list(folder, signal)).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    }
  });

  it("are followed: a listing, then the changes of their folder alone", async () => {
    const { records, leases, config } = store.network();
    const before = await records.write("networks/blue", "1", null, signal);
    const followed = follow(records, "networks/");
    await expect.poll(followed.view, SOON).toEqual({ "networks/blue": "1" });
    await records.write("other/x", "x", null, signal);
    await leases.create("10.1.1.0-24", "a", 60, signal);
    await config.write("{}", null, signal);
    await store.running.put(`${store.prefix}/tulle/networks/green/`, "");
    const red = await records.write("networks/red", "2", null, signal);
    await records.write("networks/blue", "3", before, signal);
    await expect.poll(followed.view, SOON).toEqual({ "networks/blue": "3", "networks/red": "2" });
    await records.remove(red, signal);
    await expect.poll(followed.view, SOON).toEqual({ "networks/blue": "3" });
    expect(followed.listings()).toBe(1);
    await followed.stop();
  });

  it("expire where that is wanted, unless they are kept alive", async () => {
    const { records } = store.network();
    const followed = follow(records, "");
    await records.write("endpoint/for-ever", "1", null, signal);
    const short = await records.write("endpoint/short", "1", null, signal, 2);
    expect(await records.keepAlive(short, signal)).toBeGreaterThanOrEqual(2);
    await expect.poll(followed.view, SOON).toHaveProperty(["endpoint/short"]);
    await expect
      .poll(followed.view, { timeout: 60_000, interval: 100 })
      .toEqual({ "endpoint/for-ever": "1" });
    await expect(records.keepAlive(short, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
    await followed.stop();
  });

  it("become permanent, or expire, by the write that says so", async () => {
    const { records } = store.network();
    const short = await records.write("x", "1", null, signal, 60);
    expect(short.storeLeaseId).not.toBeNull();
    const lasting = await records.write("x", "2", short, signal);
    expect(lasting.storeLeaseId).toBeNull();
    expect(await records.keepAlive(lasting, signal)).toBe(Number.POSITIVE_INFINITY);
    expect((await records.write("x", "3", lasting, signal, 60)).storeLeaseId).not.toBeNull();
  });

  it("end each call soon after its signal fires", async () => {
    const stop = AbortSignal.abort(new Error("enough"));
    const { records } = store.network();
    for (const call of [
      records.list("", stop),
      records.read("x", stop),
      records.write("x", "y", null, stop),
    ]) {
      await expect(call).rejects.toThrow("enough");
    }
    expect(await names(records, "")).toEqual([]);
  });

  it("are no longer watched when the signal fires right after a message", async () => {
    const { records } = store.network();
    const stop = new AbortController();
    let messages = 0;
    for await (const _ of records.watch(["one", "folder/"], stop.signal)) {
      messages += 1;
      queueMicrotask(() => stop.abort());
    }
    expect(messages).toBe(1);
  });
});
