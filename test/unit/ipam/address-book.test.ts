/** This host's addresses in named networks: without the store, on a full pool, and after hosts are gone. */

import { mkdirSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { StoreError } from "../../../ipam/errors.ts";
import { encodeHolder } from "../../../ipam/named-networks/address-records.ts";
import { isHostGone } from "../../../ipam/named-networks/gone-hosts.ts";
import { encodeHost } from "../../../ipam/named-networks/member-codec.ts";
import {
  addressFolder,
  addressRecord,
  CATALOGUE_RECORD,
  hostRecord,
} from "../../../ipam/named-networks/record-names.ts";
import type { NetworkStore, Records } from "../../../ipam/stores/contracts.ts";
import {
  catalogueOver,
  createdNetwork,
  Folders,
  hostId,
  hostRecordOf,
  newBook,
  startBook,
} from "../../support/named-networks/lab.ts";
import { SOON } from "../../support/patience.ts";
import { MemoryHolder, openMemoryStore } from "../../support/stores/memory-store.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(60_000);
const folders = new Folders();
afterAll(() => folders.dispose());

const openStore = (): NetworkStore =>
  openMemoryStore(new MemoryHolder(systemClock), testEnvironment).network("/test");

/** Records that can be cut off: calls fail, or hang until their signal fires. */
function cuttable(records: Records) {
  const state = { cut: null as "fails" | "hangs" | null };
  const guard = async <T>(until: AbortSignal, call: () => Promise<T>): Promise<T> => {
    if (state.cut === "hangs")
      await new Promise((_, reject) => until.addEventListener("abort", () => reject(until.reason)));
    if (state.cut !== null) throw new StoreError("the store is away", { retryable: true });
    return await call();
  };
  const cut: Records = {
    ...records,
    list: (folder, until) => guard(until, () => records.list(folder, until)),
    read: (name, until) => guard(until, () => records.read(name, until)),
    write: (name, value, expected, until, ttl) =>
      guard(until, () => records.write(name, value, expected, until, ttl)),
    remove: (entry, until) => guard(until, () => records.remove(entry, until)),
  };
  return { state, records: cut };
}

describe("without the store", () => {
  it.each(["fails", "hangs"] as const)(
    "gives what is in reserve, then a clear error (the store %s)",
    async (how) => {
      const { records } = openStore();
      const network = await createdNetwork(records, "blue", "10.9.0.0/16", signal);
      const link = cuttable(records);
      const stateDir = folders.make();
      const book = startBook({ records: link.records, number: 1, stateDir });
      book.part.prepare(network);
      await expect
        .poll(async () => (await records.list(addressFolder(network.id), signal)).length, SOON)
        .toBe(4);
      link.state.cut = how;
      const taken: string[] = [];
      for (let index = 0; index < 4; index += 1)
        taken.push(String(await book.part.take(network, 4, null, `e${index}`, signal)));
      expect(new Set(taken).size).toBe(4);
      const startMs = performance.now();
      await expect(book.part.take(network, 4, null, "e9", signal)).rejects.toBeInstanceOf(StoreError);
      expect(performance.now() - startMs).toBeLessThan(2_000);
      book.part.release(network.id, Address.parse(taken[0] ?? ""));
      expect(String(await book.part.take(network, 4, null, "e9", signal))).toBe(taken[0]);
      await book.stop();
      const again = newBook({ records: link.records, number: 1, stateDir });
      expect(again.given(network.id).map(String).sort()).toEqual([...taken].sort());
      expect(String(await again.take(network, 4, null, "e1", signal))).toBe(taken[1]);
    },
  );

  it("gives nothing once its own lease has ended, until it has compared with the store", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.0.0/16", signal);
    const link = cuttable(records);
    let isLeaseHeld = true;
    const options = {
      records: link.records,
      number: 1,
      stateDir: folders.make(),
      isLeaseHeld: () => isLeaseHeld,
    };
    const book = newBook(options);
    const first = await book.take(network, 4, null, "e1", signal);
    book.release(network.id, first);
    isLeaseHeld = false;
    link.state.cut = "fails";
    await expect(book.take(network, 4, null, "e2", signal)).rejects.toBeInstanceOf(StoreError);
    link.state.cut = null;
    const name = addressRecord(network.id, first);
    const thief = encodeHolder({ host: hostId(2), name: "host2" });
    await records.write(name, thief, await records.read(name, signal), signal);
    expect(String(await book.take(network, 4, null, "e2", signal))).not.toBe(String(first));
  });
});

describe("a take", () => {
  it("names what is wrong with the request", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const book = newBook({ records, number: 1, stateDir: folders.make() });
    const take = (family: 4 | 6, wanted: string | null) =>
      book.take(network, family, wanted === null ? null : Address.parse(wanted), null, signal);
    await expect(take(6, null)).rejects.toThrow(/blue has no IPv6 subnet/);
    await expect(take(4, "10.9.9.1")).rejects.toThrow(/10\.9\.9\.1 is not inside subnet 10\.9\.8\.0\/24/);
    await expect(take(4, "10.9.8.1")).rejects.toThrow(/10\.9\.8\.1 is the gateway/);
    await expect(take(4, "10.9.8.0")).rejects.toThrow(/is the base/);
    await expect(take(4, "10.9.8.255")).rejects.toThrow(/broadcast/);
    expect(String(await take(4, "10.9.8.77"))).toBe("10.9.8.77");
    await expect(take(4, "10.9.8.77")).rejects.toThrow(/in use on this host/);
  });

  it("counts only once it is on the disk", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const stateDir = folders.make();
    const book = newBook({ records, number: 1, stateDir });
    await book.take(network, 4, null, "e1", signal);
    const [name = ""] = readdirSync(join(stateDir, "named-addresses"));
    const file = JSON.parse(readFileSync(join(stateDir, "named-addresses", name), "utf8"));
    expect(file.addresses).toEqual([{ address: "10.9.8.2", given: true, endpoint: "e1" }]);
    const other = await createdNetwork(records, "green", "10.9.7.0/24", signal);
    const inTheWay = join(stateDir, "named-addresses", `${other.id}.json`);
    mkdirSync(inTheWay);
    await expect(book.take(other, 4, null, "e1", signal)).rejects.toThrow(
      /10\.9\.7\.2 cannot be recorded in/,
    );
    expect(book.given(other.id)).toEqual([]);
    rmdirSync(inTheWay);
    expect(String(await book.take(other, 4, null, "e1", signal))).toBe("10.9.7.2");
  });

  it("uses addresses outside the range for automatic ones only on request, and no excluded one", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const pool = network.pools[4];
    if (pool === undefined) throw new TypeError("the network has no pool");
    const narrow = {
      ...network,
      pools: {
        4: { ...pool, allocation: Prefix.parse("10.9.8.128/30"), excluded: [Address.parse("10.9.8.129")] },
      },
    };
    const book = newBook({ records, number: 1, stateDir: folders.make() });
    const taken = [];
    for (const endpoint of ["a", "b", "c"])
      taken.push(String(await book.take(narrow, 4, null, endpoint, signal)));
    expect(taken.sort()).toEqual(["10.9.8.128", "10.9.8.130", "10.9.8.131"]);
    expect(String(await book.take(narrow, 4, Address.parse("10.9.8.50"), "d", signal))).toBe("10.9.8.50");
    book.release(narrow.id, Address.parse("10.9.8.50"));
    await expect(book.take(narrow, 4, null, "e", signal)).rejects.toMatchObject({
      code: "TULLE_NO_FREE_ADDRESS",
    });
  });
});

describe("an address of a container here that another host holds", () => {
  it("is not given again once the container has stopped", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const stateDir = folders.make();
    const address = await newBook({ records, number: 1, stateDir }).take(network, 4, null, null, signal);
    const name = addressRecord(network.id, address);
    const other = encodeHolder({ host: hostId(2), name: "host2" });
    await records.write(name, other, await records.read(name, signal), signal);
    const { part: book, stop } = startBook({ records, number: 1, stateDir });
    await expect.poll(() => book.problems, SOON).toHaveLength(1);
    book.release(network.id, address);
    await expect(book.take(network, 4, address, null, signal)).rejects.toThrow(/is held by host host2/);
    expect(book.problems).toEqual([]);
    await stop();
  });
});

describe("a network that is removed", () => {
  it("is left at the next comparison, unless a container is in it", async () => {
    const { records } = openStore();
    const [blue, green, red] = [
      await createdNetwork(records, "blue", "10.9.8.0/24", signal),
      await createdNetwork(records, "green", "10.9.7.0/24", signal),
      await createdNetwork(records, "red", "fd00:9::/64", signal, 6),
    ];
    const stateDir = folders.make();
    const first = startBook({ records, number: 1, stateDir });
    const kept = await first.part.take(green, 4, null, "e1", signal);
    first.part.prepare(blue);
    first.part.prepare(red);
    const held = async (id: typeof blue.id) => (await records.list(addressFolder(id), signal)).length;
    await expect.poll(() => held(blue.id), SOON).toBe(4);
    await expect.poll(() => held(red.id), SOON).toBe(4);
    expect(String(await first.part.take(red, 6, null, "e1", signal))).toBe("fd00:9::2");
    await first.stop();
    const catalogue = await records.read(CATALOGUE_RECORD, signal);
    const root = JSON.parse(catalogue?.value ?? "");
    const networks = root.networks.filter(({ name }: { name: string }) => name === "red");
    await records.write(CATALOGUE_RECORD, JSON.stringify({ networks }), catalogue, signal);
    const second = startBook({ records, number: 1, stateDir });
    await expect.poll(() => held(blue.id), SOON).toBe(0);
    expect(second.part.given(green.id).map(String)).toEqual([String(kept)]);
    expect(readdirSync(join(stateDir, "named-addresses"))).not.toContain(`${blue.id}.json`);
    expect(second.part.given(red.id).map(String)).toEqual(["fd00:9::2"]);
    await second.stop();
  });

  it("is not one that was created while the catalogue was read", async () => {
    const { records } = openStore();
    await createdNetwork(records, "red", "10.9.7.0/24", signal);
    let answer = (): void => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const slow: Records = {
      ...records,
      read: async (name, until) => {
        const entry = await records.read(name, until);
        if (name === CATALOGUE_RECORD) await answered;
        return entry;
      },
    };
    const book = startBook({ records: slow, number: 1, stateDir: folders.make() });
    const blue = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    book.part.prepare(blue);
    answer();
    await expect.poll(async () => (await records.list(addressFolder(blue.id), signal)).length, SOON).toBe(4);
    await book.stop();
  });

  it("gets no record again for the address of a container that still runs", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const stateDir = folders.make();
    const first = startBook({ records, number: 1, stateDir });
    const kept = await first.part.take(network, 4, null, "e1", signal);
    const held = async () => (await records.list(addressFolder(network.id), signal)).length;
    await expect.poll(held, SOON).toBe(5);
    await first.stop();
    await catalogueOver(records).remove(network.id, signal);
    const other = await createdNetwork(records, "red", "10.9.7.0/24", signal);
    const second = startBook({ records, number: 1, stateDir });
    second.part.prepare(other);
    await expect.poll(async () => (await records.list(addressFolder(other.id), signal)).length, SOON).toBe(4);
    await expect
      .poll(() => readFileSync(join(stateDir, "named-addresses", `${network.id}.json`), "utf8"), SOON)
      .not.toContain('"given":false');
    expect(await held()).toBe(0);
    second.part.release(network.id, kept);
    await second.stop();
    const third = startBook({ records, number: 1, stateDir });
    await expect
      .poll(() => readdirSync(join(stateDir, "named-addresses")), SOON)
      .not.toContain(`${network.id}.json`);
    expect(await held()).toBe(0);
    await third.stop();
  });
});

describe("a host that is gone", () => {
  it("is one without a record and without a lease", async () => {
    const store = openStore();
    expect(await isHostGone(store, hostId(7), signal)).toBe(true);
    const record = await store.records.write(
      hostRecord(hostId(7)),
      encodeHost(hostRecordOf(7)),
      null,
      signal,
    );
    expect(await isHostGone(store, hostId(7), signal)).toBe(false);
    await store.records.remove(record, signal);
    const lease = { PublicIP: "192.0.2.7", BackendType: "vxlan", NodeID: hostId(7) };
    const entry = await store.leases.create("10.2.7.0-24", JSON.stringify(lease), 3600, signal);
    expect(await isHostGone(store, hostId(7), signal)).toBe(false);
    expect(await isHostGone(store, hostId(8), signal)).toBe(true);
    await store.leases.create("10.2.8.0-24", "{damaged", 3600, signal);
    expect(await isHostGone(store, hostId(8), signal)).toBe(false);
    await store.leases.remove(entry, signal);
  });

  it("loses its addresses only to a full pool or a request", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/29", signal);
    const dead = encodeHolder({ host: hostId(7), name: "host7" });
    for (const last of [2, 3, 4])
      await records.write(`${addressFolder(network.id)}10.9.8.${last}`, dead, null, signal);
    const isGone = async () => true;
    const book = newBook({ records, number: 1, stateDir: folders.make(), isGone });
    const take = async (wanted: string | null, endpoint: string) =>
      String(await book.take(network, 4, wanted === null ? null : Address.parse(wanted), endpoint, signal));
    expect([await take(null, "a"), await take(null, "b")].sort()).toEqual(["10.9.8.5", "10.9.8.6"]);
    expect(await take("10.9.8.3", "c")).toBe("10.9.8.3");
    expect([await take(null, "d"), await take(null, "e")].sort()).toEqual(["10.9.8.2", "10.9.8.4"]);
    await expect(take(null, "f")).rejects.toMatchObject({ code: "TULLE_NO_FREE_ADDRESS" });
  });
});

describe("a full pool", () => {
  it("gives what another host has in reserve to containers that start at the same time", async () => {
    const { records } = openStore();
    const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
    const other = startBook({ records, number: 2, stateDir: folders.make() });
    other.part.prepare(network);
    const held = async () => (await records.list(addressFolder(network.id), signal)).length;
    await expect.poll(held, SOON).toBe(4);
    const book = newBook({ records, number: 1, stateDir: folders.make() });
    const take = async (endpoint: string) => String(await book.take(network, 4, null, endpoint, signal));
    for (let n = 0; n < 249; n++) await take(`e${n}`);
    const taken = await Promise.all(["a", "b", "c", "d"].map(take));
    expect(taken.sort()).toEqual(["10.9.8.2", "10.9.8.3", "10.9.8.4", "10.9.8.5"]);
    await expect(take("e")).rejects.toMatchObject({ code: "TULLE_NO_FREE_ADDRESS" });
    await other.stop();
  });
});
