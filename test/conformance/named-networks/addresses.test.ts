/** Addresses of named networks, with several hosts that race, over every store. */

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import { addressFolder, addressRecord, WANTED_FOLDER } from "../../../ipam/named-networks/record-names.ts";
import type { NetworkStore } from "../../../ipam/stores/contracts.ts";
import { createdNetwork, Folders, hostId, startBook } from "../../support/named-networks/lab.ts";
import { SOON } from "../../support/patience.ts";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);
const folders = new Folders();
afterAll(() => folders.dispose());

const host = (store: NetworkStore, number: number, stateDir = folders.make()) =>
  startBook({ records: store.records, number, stateDir });
const take = (
  book: ReturnType<typeof host>,
  network: NamedNetwork,
  wanted: string | null,
  endpoint: string,
) => book.part.take(network, 4, wanted === null ? null : Address.parse(wanted), endpoint, signal);

await describeStores("addresses of named networks", (store) => {
  it("are given once, however many hosts take at once, until the pool is full", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", "10.200.0.0/26", signal);
    const hosts = [1, 2, 3].map((number) => host({ records } as NetworkStore, number));
    const given = await Promise.all(
      Array.from({ length: 30 }, (_, index) => take(hosts[index % 3] as never, network, null, `e${index}`)),
    );
    expect(new Set(given.map(String)).size).toBe(30);
    for (const address of given) {
      expect(network.pools[4]?.subnet.contains(address)).toBe(true);
      expect(["10.200.0.0", "10.200.0.1", "10.200.0.63"]).not.toContain(address.toString());
    }
    // 61 can be given; what others hold in reserve is handed over.
    const rest: string[] = [];
    for (let index = 30; index < 61; index += 1)
      rest.push(String(await take(hosts[0] as never, network, null, `e${index}`)));
    expect(new Set([...given.map(String), ...rest]).size).toBe(61);
    await expect(take(hosts[1] as never, network, null, "e61")).rejects.toMatchObject({
      code: "TULLE_NO_FREE_ADDRESS",
    });
    hosts[2]?.part.release(network.id, given[2] as Address);
    expect(String(await take(hosts[1] as never, network, null, "e61"))).toBe(String(given[2]));
    for (const each of hosts) await each.stop();
    expect(await records.list(WANTED_FOLDER, signal)).toEqual([]);
  }, 60_000);

  it("hands an unused address over on request, and names who uses a used one", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", "10.200.1.0/24", signal);
    const [one, two] = [host({ records } as NetworkStore, 1), host({ records } as NetworkStore, 2)];
    one.part.prepare(network);
    await expect.poll(() => records.list(addressFolder(network.id), signal), SOON).not.toHaveLength(0);
    await expect
      .poll(async () => (await records.list(addressFolder(network.id), signal)).length, SOON)
      .toBe(4);
    const [reserved] = await records.list(addressFolder(network.id), signal);
    const wanted = reserved?.key.split("/").at(-1) ?? "";
    const startMs = performance.now();
    expect(String(await take(two, network, wanted, "e1"))).toBe(wanted);
    expect(performance.now() - startMs).toBeLessThan(1_500);
    await expect(take(one, network, wanted, "e2")).rejects.toThrow(/held by host host2: endpoint e1/);
    await expect(take(two, network, wanted, "e3")).rejects.toThrow(/in use on this host by endpoint e1/);
    expect(String(await take(two, network, wanted, "e1"))).toBe(wanted);
    await one.stop();
    // Nothing answers for what it holds.
    const other = (await records.list(addressFolder(network.id), signal)).find(({ value }) =>
      value.includes(hostId(1)),
    );
    const held = other?.key.split("/").at(-1) ?? "";
    await expect(take(two, network, held, "e4")).rejects.toThrow(
      /held by host host1: that host does not answer/,
    );
    await two.stop();
  }, 60_000);

  it("survive a restart and a lost state directory without being given twice", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", "10.200.2.0/24", signal);
    const stateDir = folders.make();
    const first = host({ records } as NetworkStore, 1, stateDir);
    const given = await take(first, network, null, "e1");
    await first.stop();
    const second = host({ records } as NetworkStore, 1, stateDir);
    expect(second.part.given(network.id).map(String)).toEqual([String(given)]);
    expect(String(await take(second, network, null, "e1"))).toBe(String(given));
    const more = await take(second, network, null, "e2");
    expect(String(more)).not.toBe(String(given));
    await second.stop();
    rmSync(join(stateDir, "named-addresses"), { recursive: true });
    const third = host({ records } as NetworkStore, 1, stateDir);
    const afresh = await take(third, network, null, "e3");
    expect([String(given), String(more)]).not.toContain(String(afresh));
    // All that the store shows counts as given until the engine was asked.
    await expect
      .poll(() => third.part.given(network.id).map(String), SOON)
      .toEqual(expect.arrayContaining([given, more, afresh].map(String)));
    await third.stop();
  }, 60_000);

  it("rebuild a damaged file, take back what was deleted, and show what another host took", async () => {
    const { records } = store.network();
    const network = await createdNetwork(records, "blue", "10.200.3.0/24", signal);
    const stateDir = folders.make();
    const first = host({ records } as NetworkStore, 1, stateDir);
    const [kept, stolen] = [await take(first, network, null, "e1"), await take(first, network, null, "e2")];
    await first.stop();
    const read = async (address: Address) => await records.read(addressRecord(network.id, address), signal);
    const entry = await read(kept);
    if (entry !== null) await records.remove(entry, signal);
    const thief = JSON.stringify({ host: hostId(9), name: "host9" });
    await records.write(addressRecord(network.id, stolen), thief, await read(stolen), signal);
    const second = host({ records } as NetworkStore, 1, stateDir);
    await expect.poll(async () => (await read(kept))?.value, SOON).toContain(hostId(1));
    await expect.poll(() => second.part.problems.join(), SOON).toMatch(/belongs to host host9/);
    await second.stop();
    const [name = ""] = readdirSync(join(stateDir, "named-addresses"));
    writeFileSync(join(stateDir, "named-addresses", name), '{"half":');
    const third = host({ records } as NetworkStore, 1, stateDir);
    const afresh = await take(third, network, null, "e3");
    expect([String(kept), String(stolen)]).not.toContain(String(afresh));
    await expect.poll(() => third.part.given(network.id).map(String), SOON).toContain(String(kept));
    await third.stop();
  }, 60_000);
});
