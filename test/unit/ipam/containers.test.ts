/** Addresses of containers in a real folder. */

import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseAddressConfig } from "../../../cni-plugin/config/address-config.ts";
import { isHeldBy } from "../../../ipam/containers/attachment.ts";
import { type FolderLock, HostLocalAddresses } from "../../../ipam/containers/host-local.ts";
import type { AddressRequest } from "../../../ipam/containers/ranges.ts";
import type { JsonObject } from "../../../ipam/json.ts";

let dir = "";
let bootId = "boot-1";
let bootStartMs = 0;
let locks = 0;
let store: HostLocalAddresses;
const lock: FolderLock = async (_folder, work) => {
  locks += 1;
  return await work();
};
beforeEach(async () => {
  dir = mkdtempSync(path.join(tmpdir(), "tulle-containers-"));
  bootId = "boot-1";
  bootStartMs = 0;
  locks = 0;
  store = new HostLocalAddresses({
    ...{ dataDir: dir, network: "net" },
    lock,
    readBootId: () => bootId,
    readBootStartMs: () => bootStartMs,
  });
  await store.prepare(of("nothing"), () => false);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const of = (containerId: string) => ({ containerId, interfaceName: "eth0" });
const requestOf = (ipam: JsonObject, rest: JsonObject = {}, args = "") =>
  parseAddressConfig({ ipam, ...rest }, args).request;
const SMALL = { ranges: [[{ subnet: "10.1.2.0/29" }]] };
const give = async (request: AddressRequest, id: string) => {
  const given = await store.reserve(request, of(id));
  return given.map(({ address }) => `${address.address}/${address.length}`);
};
const holders = async () => (await store.list()).map(({ containerId }) => containerId);
const releaseOf = async (id: string) =>
  store.release((await store.list()).filter(({ containerId }) => containerId === id));

describe("allocation", () => {
  it("writes host-local's files", async () => {
    expect(await give(requestOf(SMALL), "a")).toEqual(["10.1.2.2/29"]);
    expect(readdirSync(path.join(dir, "net")).sort()).toEqual([
      ".tulle-boot",
      "10.1.2.2",
      "last_reserved_ip.0",
    ]);
    expect(readFileSync(path.join(dir, "net/10.1.2.2"), "utf8")).toBe("a\r\neth0");
    expect(readFileSync(path.join(dir, "net/last_reserved_ip.0"), "utf8")).toBe("10.1.2.2");
  });

  it("goes round and comes back to freed addresses last", async () => {
    const request = requestOf(SMALL);
    expect(await give(request, "a")).toEqual(["10.1.2.2/29"]);
    await releaseOf("a");
    const next: string[] = [];
    for (const id of ["b", "c", "d", "e", "f"]) next.push(...(await give(request, id)));
    expect(next).toEqual(["10.1.2.3/29", "10.1.2.4/29", "10.1.2.5/29", "10.1.2.6/29", "10.1.2.2/29"]);
  });

  it("says with numbers that nothing is left", async () => {
    const request = requestOf({ ...SMALL, exclude: ["10.1.2.4/30"] });
    for (const id of ["a", "b"]) {
      await expect(store.requireRoom(request)).resolves.toBeUndefined();
      await give(request, id);
    }
    const refusal = {
      code: "TULLE_NO_FREE_ADDRESS",
      message: expect.stringContaining("of 6 addresses 2 are given"),
      details: { remedy: expect.stringContaining("exclusions: 10.1.2.4/30") },
    };
    await expect(give(request, "c")).rejects.toMatchObject(refusal);
    await expect(store.requireRoom(request)).rejects.toMatchObject(refusal);
  });

  it("has room where an earlier boot took every address, which the next container frees", async () => {
    const request = requestOf(SMALL);
    for (const id of ["a", "b", "c", "d", "e"]) await give(request, id);
    [bootId, bootStartMs] = ["boot-2", Date.now() + 1000];
    await expect(store.requireRoom(request)).resolves.toBeUndefined();
    expect(await store.prepare(of("f"), () => false)).toHaveLength(5);
    expect(await give(request, "f")).toEqual(["10.1.2.2/29"]);
  });

  it("skips an exclusion of any size at once, also where it covers the whole range", async () => {
    const [subnet, half] = ["fd00:1::/64", "fd00:1::/65"];
    expect(await give(requestOf({ subnet, exclude: [half] }), "a")).toEqual(["fd00:1:0:0:8000::/64"]);
    const [next] = await give(requestOf({ subnet, exclude: ["fd00:1:0:0:8000::/66", half] }), "b");
    expect(next).toBe("fd00:1:0:0:c000::/64");
    await expect(give(requestOf({ subnet, exclude: [subnet] }), "c")).rejects.toMatchObject({
      code: "TULLE_NO_FREE_ADDRESS",
    });
  });

  it("gives one address per range set, or none", async () => {
    const request = requestOf({ ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1::/126" }]] });
    expect(await give(request, "a")).toEqual(["10.1.2.2/24", "fd00:1::2/126"]);
    await give(request, "b");
    await expect(give(request, "c")).rejects.toMatchObject({ code: "TULLE_NO_FREE_ADDRESS" });
    expect(await holders()).not.toContain("c");
  });

  it("rejects two requested addresses of one range set instead of forgetting one", async () => {
    const request = requestOf(SMALL, { runtimeConfig: { ips: ["10.1.2.3", "10.1.2.4"] } });
    await expect(give(request, "a")).rejects.toThrow(/10\.1\.2\.4 cannot be given as well/);
    expect(await holders()).toEqual([]);
  });

  it("rejects a requested address that is excluded", async () => {
    const request = requestOf(
      { ...SMALL, exclude: ["10.1.2.3", "10.1.2.4/30"] },
      { runtimeConfig: { ips: ["10.1.2.5"] } },
    );
    await expect(give(request, "a")).rejects.toThrow(/10\.1\.2\.5 is excluded by 10\.1\.2\.4\/30/);
    expect(await holders()).toEqual([]);
  });

  it("rejects an attachment that holds an address already", async () => {
    await give(requestOf(SMALL), "a");
    await expect(store.prepare(of("a"), () => true)).rejects.toThrow(
      /10\.1\.2\.2 is already given to a eth0/,
    );
    await expect(store.prepare(of("b"), () => true)).resolves.toEqual([]);
  });

  it.each([
    ["CNI_ARGS", {}, "IgnoreUnknown=1;IP=10.1.2.5"],
    ["args", { args: { cni: { ips: ["10.1.2.5"] } } }, ""],
    ["runtimeConfig", { runtimeConfig: { ips: ["10.1.2.5/29"] } }, ""],
  ])("gives the address that %s asks for, once", async (_, rest, args) => {
    const request = requestOf(SMALL, rest, args);
    expect(await give(request, "a")).toEqual(["10.1.2.5/29"]);
    await expect(give(request, "b")).rejects.toThrow(/in use/);
  });

  it.each(["10.1.2.1", "10.9.9.9"])("rejects the requested address %s", async (address) => {
    await expect(give(requestOf(SMALL, {}, `IP=${address}`), "a")).rejects.toThrow(/requested address/);
  });
});

describe("another network of this host", () => {
  const open = (network: string) =>
    new HostLocalAddresses({
      ...{ dataDir: dir, network, lock },
      ...{ readBootId: () => bootId, readBootStartMs: () => bootStartMs },
    });
  const giveOf = async (network: string, id: string, ipam: JsonObject = {}) => {
    const other = open(network);
    await other.prepare(of(id), () => false);
    const [given] = await other.reserve(requestOf(SMALL, ipam), of(id));
    return `${given?.address.address}`;
  };

  it("with the same subnet gives other addresses, whichever plugin reserved them", async () => {
    expect(await give(requestOf(SMALL), "a")).toEqual(["10.1.2.2/29"]);
    expect(await giveOf("other", "b")).toBe("10.1.2.3");
    writeFileSync(path.join(dir, "other/10.1.2.4"), "of host-local\r\neth0");
    expect(await give(requestOf(SMALL), "c")).toEqual(["10.1.2.5/29"]);
    await expect(giveOf("third", "d", { args: { cni: { ips: ["10.1.2.2"] } } })).rejects.toThrow(/in use/);
    expect(await giveOf("third", "d")).toBe("10.1.2.6");
    await expect(giveOf("third", "e")).rejects.toMatchObject({ code: "TULLE_NO_FREE_ADDRESS" });
    await expect(store.requireRoom(requestOf(SMALL))).rejects.toMatchObject({
      code: "TULLE_NO_FREE_ADDRESS",
    });
    await releaseOf("a");
    expect(await giveOf("third", "e")).toBe("10.1.2.2");
  });

  it("does not keep the addresses that it left in an earlier boot", async () => {
    expect(await giveOf("other", "b")).toBe("10.1.2.2");
    bootId = "boot-2";
    bootStartMs = Date.now() + 60_000;
    expect(await give(requestOf(SMALL), "a")).toEqual(["10.1.2.2/29"]);
  });

  it("of host-local keeps its addresses until the boot after the one in which they were met", async () => {
    for (const folder of ["left", "empty"]) mkdirSync(path.join(dir, folder));
    writeFileSync(path.join(dir, "left/10.1.2.2"), "of host-local\r\neth0");
    expect(await give(requestOf(SMALL), "a")).toEqual(["10.1.2.3/29"]);
    expect(readdirSync(path.join(dir, "empty"))).toEqual([]);
    await releaseOf("a");
    bootId = "boot-2";
    bootStartMs = Date.now() + 60_000;
    expect(await giveOf("third", "b", { args: { cni: { ips: ["10.1.2.2"] } } })).toBe("10.1.2.2");
    expect(readdirSync(path.join(dir, "left"))).toContain("10.1.2.2");
  });
});

describe("earlier boots", () => {
  const startsIn = (boot: string) => {
    bootId = boot;
    bootStartMs = Date.now() + 60_000;
  };
  const reclaim = async (alive: readonly string[] = []) =>
    (await store.prepare(of("next"), ({ containerId }) => alive.includes(containerId))).length;

  it("keeps everything when the folder has no marker yet, and writes one", async () => {
    await give(requestOf(SMALL), "a");
    rmSync(path.join(dir, "net/.tulle-boot"));
    startsIn("boot-2");
    expect([await reclaim(), await holders()]).toEqual([0, ["a"]]);
    expect(readFileSync(path.join(dir, "net/.tulle-boot"), "utf8")).toBe("boot-2");
  });

  it("frees once what an earlier boot left, but for what is alive", async () => {
    await give(requestOf(SMALL), "a");
    await give(requestOf(SMALL), "b");
    expect(await reclaim()).toBe(0);
    startsIn("boot-2");
    expect(await store.listOfEarlierBoots()).toHaveLength(2);
    expect([await reclaim(["b"]), await holders()]).toEqual([1, ["b"]]);
    expect([await store.listOfEarlierBoots(), await reclaim()]).toEqual([[], 0]);
  });

  it("keeps what host-local has given since this boot", async () => {
    await give(requestOf(SMALL), "a");
    startsIn("boot-2");
    await give(requestOf(SMALL), "flannels");
    const flannels = (await store.list()).find(({ containerId }) => containerId === "flannels");
    const seconds = bootStartMs / 1000 + 1;
    utimesSync(path.join(dir, "net", `${flannels?.address}`), seconds, seconds);
    expect((await store.listOfEarlierBoots()).map(({ containerId }) => containerId)).toEqual(["a"]);
    expect([await reclaim(), await holders()]).toEqual([1, ["flannels"]]);
  });

  it("gives an attachment of the same name a new address after a boot", async () => {
    await give(requestOf(SMALL), "a");
    startsIn("boot-2");
    expect(await store.prepare(of("a"), () => false)).toMatchObject([{ containerId: "a" }]);
  });
});

describe("release", () => {
  it("is a success for what is absent, without a lock where no folder is", async () => {
    const absent = new HostLocalAddresses({
      ...{ dataDir: dir, network: "no", lock },
      ...{ readBootId: () => "", readBootStartMs: () => 0 },
    });
    locks = 0;
    await absent.release([]);
    expect([await absent.list(), locks]).toEqual([[], 0]);
    await give(requestOf(SMALL), "a");
    const [held] = await store.list();
    for (const _ of [1, 2]) await store.release(held === undefined ? [] : [held]);
    expect(await holders()).toEqual([]);
  });

  it("leaves an address alone that another attachment holds by now", async () => {
    await give(requestOf(SMALL), "a");
    const former = await store.list();
    writeFileSync(path.join(dir, "net/10.1.2.2"), "b\r\neth0");
    await store.release(former);
    expect(await holders()).toEqual(["b"]);
  });

  it("runs the last step only when nothing remains, and before the lock is free", async () => {
    const done: string[] = [];
    await give(requestOf(SMALL), "a");
    await give(requestOf(SMALL), "b");
    for (const id of ["a", "b"]) {
      const held = (await store.list()).filter(({ containerId }) => containerId === id);
      await store.release(held, async () => void done.push(id));
    }
    expect(done).toEqual(["b"]);
  });

  it("frees an address whose file is damaged, and not those of others", async () => {
    await give(requestOf(SMALL), "a");
    symlinkSync(path.join(dir, "net/10.1.2.2"), path.join(dir, "net/10.1.2.3"));
    writeFileSync(path.join(dir, "net/10.1.2.4"), Buffer.alloc(2 << 20));
    expect((await holders()).sort()).toEqual(["", "", "a"]);
    await releaseOf("");
    expect(await holders()).toEqual(["a"]);
  });

  it("understands files without an interface, which hold for all of the container's", async () => {
    writeFileSync(path.join(dir, "net/10.1.2.3"), "a\r\neth1");
    writeFileSync(path.join(dir, "net/10.1.2.4"), "a");
    const held = (await store.list()).filter((reservation) => isHeldBy(reservation, of("a")));
    await store.release(held);
    expect((await store.list()).map(({ address }) => String(address))).toEqual(["10.1.2.3"]);
  });
});
