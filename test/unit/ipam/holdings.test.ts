/** The file of a network's addresses: what is in it when a change counts, and when it is known to be on the disk. */

import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { Holdings } from "../../../ipam/named-networks/holdings.ts";
import { testNetwork } from "../../support/segment-lab.ts";

const NETWORK = testNetwork(1);
const [FIRST, SECOND] = [Address.parse("10.101.0.2"), Address.parse("10.101.0.3")];

let folder: string;
let holdings: Holdings;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-holdings-"));
  holdings = Holdings.empty(folder, NETWORK);
  holdings.add(FIRST, false);
  holdings.add(SECOND, false);
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The addresses that another process would find given. */
function given(): readonly string[] {
  return Holdings.read(folder, `${NETWORK.id}.json`, silentLogger)?.given.map(String) ?? [];
}

it("a change that is kept is in the file, and a later write brings it to the disk", async () => {
  holdings.give(FIRST, "e1");
  await holdings.keep();
  expect(given()).toEqual(["10.101.0.2"]);
  expect(holdings.isOnDisk).toBe(false);
  await holdings.persist();
  expect(holdings.isOnDisk).toBe(true);
  expect(readdirSync(folder)).toEqual([`${NETWORK.id}.json`]);
});

it.each([
  ["before", (kept: () => void, persisted: () => void) => [kept(), persisted()]],
  ["after", (kept: () => void, persisted: () => void) => [persisted(), kept()]],
])("a write that is to reach the disk does so for all who share it (kept %s)", async (_, order) => {
  const writes: Promise<void>[] = [];
  holdings.give(FIRST, "e1");
  order(
    () => writes.push(holdings.keep()),
    () => writes.push(holdings.persist()),
  );
  await Promise.all(writes);
  expect(given()).toEqual(["10.101.0.2"]);
  expect(holdings.isOnDisk).toBe(true);
});

it("a change while a write is under way is in the next one", async () => {
  const first = holdings.persist();
  await Promise.resolve();
  holdings.give(SECOND, "e2");
  await Promise.all([first, holdings.keep()]);
  expect(given()).toEqual(["10.101.0.3"]);
  expect(holdings.isOnDisk).toBe(false);
});
