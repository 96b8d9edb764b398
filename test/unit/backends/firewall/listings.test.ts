/** Which listings are made again: those that show a table that changed, and all where changes are not reported. */

import { beforeEach, describe, expect, it } from "vitest";
import type { TableNames } from "../../../../backends/firewall/kernel-facts.ts";
import { Listings, type Shown } from "../../../../backends/firewall/listings.ts";
import type { Family } from "../../../../ipam/addresses/ip.ts";

const FILTER: Shown = { nft: (table) => table === "ip filter", legacy: 4 };
const PORTS: Shown = { nft: (table) => table === "bridge tulle-ports" };

let names: TableNames | null;
let listings: Listings;
let made: string[];
beforeEach(() => {
  names = { nft: new Set(["ip filter"]), legacy: new Set<Family>() };
  listings = new Listings({ tables: () => names });
  listings.follow(true);
  made = [];
});

/** Gets both listings; answers which were made. */
async function get(): Promise<readonly string[]> {
  made = [];
  for (const [key, shown] of [
    ["filter", FILTER],
    ["ports", PORTS],
  ] as const) {
    await listings.get(key, shown, async () => {
      made.push(key);
      return key;
    });
  }
  return made;
}

describe("a listing", () => {
  it("is made once while nothing changes", async () => {
    expect(await get()).toEqual(["filter", "ports"]);
    expect(await get()).toEqual([]);
  });

  it("is made again after a change of a table that it shows", async () => {
    await get();
    listings.noteChange(["ip6 filter", "ip filter"]);
    expect(await get()).toEqual(["filter"]);
    listings.noteChange(["bridge tulle-ports"]);
    expect(await get()).toEqual(["ports"]);
    listings.noteChange(["inet theirs"]);
    expect(await get()).toEqual([]);
  });

  it.each([["bridge tulle-ports"], null])(
    "is made again after a change while it was made (%s)",
    async (tables) => {
      await listings.get("ports", PORTS, async () => {
        listings.noteChange(tables);
        return "old";
      });
      expect(await listings.get("ports", PORTS, async () => "new")).toBe("new");
    },
  );

  it("is made again when notifications were lost, when it was written, and when too many tables changed", async () => {
    await get();
    listings.noteChange(null);
    expect(await get()).toEqual(["filter", "ports"]);
    listings.forget("ports");
    expect(await get()).toEqual(["ports"]);
    listings.noteChange(Array.from({ length: 1001 }, (_, n) => `inet theirs${n}`));
    expect(await get()).toEqual(["filter", "ports"]);
  });

  it("is made each time while changes are not followed", async () => {
    listings.follow(false);
    await get();
    expect(await get()).toEqual(["filter", "ports"]);
    listings.follow(true);
    expect(await get()).toEqual(["filter", "ports"]);
    expect(await get()).toEqual([]);
  });

  it("is made each time while it shows legacy tables, and once more when they are gone", async () => {
    await get();
    names = { nft: new Set(), legacy: new Set<Family>([4]) };
    expect(await get()).toEqual(["filter"]);
    expect(await get()).toEqual(["filter"]);
    names = { nft: new Set(), legacy: new Set<Family>([6]) };
    expect(await get()).toEqual(["filter"]);
    expect(await get()).toEqual([]);
  });

  it("is made each time while the kernel does not tell whether there are legacy tables", async () => {
    names = null;
    await get();
    expect(await get()).toEqual(["filter"]);
  });

  it("of nothing is not kept", async () => {
    await listings.get("ports", PORTS, async () => null);
    expect(await get()).toEqual(["filter", "ports"]);
  });

  it("that fails is made again", async () => {
    const failing = listings.get("ports", PORTS, () => Promise.reject(new Error("no nft")));
    await expect(failing).rejects.toThrow("no nft");
    expect(await get()).toEqual(["filter", "ports"]);
  });
});

it("a listing may show something unless the kernel has none of its tables", () => {
  expect([listings.mayShow(FILTER), listings.mayShow(PORTS)]).toEqual([true, false]);
  names = { nft: new Set(), legacy: new Set<Family>([6]) };
  expect(listings.mayShow(FILTER)).toBe(false);
  names = { nft: new Set(), legacy: new Set<Family>([4]) };
  expect(listings.mayShow(FILTER)).toBe(true);
  names = null;
  expect([listings.mayShow(FILTER), listings.mayShow(PORTS)]).toEqual([true, true]);
  expect(new Listings().mayShow(PORTS)).toBe(true);
});
