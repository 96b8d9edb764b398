/** An address that a start asks for, which this host gave to a start that came to nothing. */

import { afterAll, expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import type { DriverContext } from "../../../../agent/docker-driver/context.ts";
import { Endpoints } from "../../../../agent/docker-driver/endpoints.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { encodeHolder } from "../../../../ipam/named-networks/address-records.ts";
import { addressRecord } from "../../../../ipam/named-networks/record-names.ts";
import { createdNetwork, Folders, hostId, newBook, startBook } from "../../../support/named-networks/lab.ts";
import { SOON } from "../../../support/patience.ts";
import { MemoryHolder, openMemoryStore } from "../../../support/stores/memory-store.ts";
import { testEnvironment } from "../../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(60_000);
const folders = new Folders();
afterAll(() => folders.dispose());

const WANTED = Address.parse("10.9.8.7");

/** A driver that was started again after the address was given; `book` as its host has it then. */
async function restarted(isLeaseHeld = true) {
  const { records } = openMemoryStore(new MemoryHolder(systemClock), testEnvironment).network("/test");
  const network = await createdNetwork(records, "blue", "10.9.8.0/24", signal);
  const host = { records, number: 1, stateDir: folders.make(), isLeaseHeld: () => isLeaseHeld };
  await newBook({ ...host, isLeaseHeld: () => true }).take(network, 4, WANTED, null, signal);
  const endpointsOf = (book: DriverContext["book"]) =>
    new Endpoints({
      ...{ book, clock: systemClock, changes: new Changes(systemClock), host: hostId(1) },
      ...{ feed: { view: { members: new Map() } }, state: { endpoints: new Map() } },
    } as unknown as DriverContext);
  const loseToOther = async () => {
    const name = addressRecord(network.id, WANTED);
    const other = encodeHolder({ host: hostId(2), name: "host2" });
    await records.write(name, other, await records.read(name, signal), signal);
  };
  return { network, host, endpointsOf, loseToOther };
}

it("is given again", async () => {
  const { network, host, endpointsOf } = await restarted();
  const book = newBook(host);
  expect(String(await endpointsOf(book).takeAddress(network, 4, WANTED, signal))).toBe("10.9.8.7");
  expect(book.given(network.id).map(String)).toEqual(["10.9.8.7"]);
});

it("is not given again once another host is known to hold it", async () => {
  const { network, host, endpointsOf, loseToOther } = await restarted();
  await loseToOther();
  const { part: book, stop } = startBook(host);
  await expect.poll(() => book.problems, SOON).toHaveLength(1);
  const taken = endpointsOf(book).takeAddress(network, 4, WANTED, signal);
  await expect(taken).rejects.toThrow(/is held by host host2/);
  expect(book.given(network.id)).toEqual([]);
  await stop();
});

it("is compared with the store first where this host's lease had ended", async () => {
  const { network, host, endpointsOf, loseToOther } = await restarted(false);
  await loseToOther();
  const taken = endpointsOf(newBook(host)).takeAddress(network, 4, WANTED, signal);
  await expect(taken).rejects.toThrow(/is held by host host2/);
});
