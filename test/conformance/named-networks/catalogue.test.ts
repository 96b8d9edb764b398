/** The catalogue of named networks, with several clients that race, over every store. */

import { expect, it } from "vitest";
import type { Prefix } from "../../../ipam/addresses/ip.ts";
import { encodeHost, encodeMembers } from "../../../ipam/named-networks/member-codec.ts";
import type { NetworkId } from "../../../ipam/named-networks/named-network.ts";
import {
  addressFolder,
  CATALOGUE_RECORD,
  hostRecord,
  membersRecord,
} from "../../../ipam/named-networks/record-names.ts";
import {
  catalogueOver,
  hostId,
  hostRecordOf,
  memberOf,
  networkRequest,
  poolRequest,
} from "../../support/named-networks/lab.ts";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);

await describeStores("catalogue of named networks", (store) => {
  it("makes one network of a name that many hosts create at once", async () => {
    const { records } = store.network();
    const created = await Promise.all(
      Array.from({ length: 8 }, () => catalogueOver(records).create(networkRequest("blue"), signal)),
    );
    expect(created.filter((each) => each.created)).toHaveLength(1);
    expect(new Set(created.map(({ network }) => network.id)).size).toBe(1);
    expect(await catalogueOver(records).list(signal)).toHaveLength(1);
  });

  it("gives networks created at once different VNIs and disjoint ranges", async () => {
    const { records } = store.network();
    const pools = { 4: poolRequest(), 6: poolRequest() };
    await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        catalogueOver(records).create(networkRequest(`net${index}`, { pools }), signal),
      ),
    );
    const networks = await catalogueOver(records).list(signal);
    expect(new Set(networks.map(({ vni }) => vni)).size).toBe(12);
    expect(Math.min(...networks.map(({ vni }) => vni))).toBe(4096);
    const subnets = networks.flatMap(({ pools }) => [pools[4]?.subnet, pools[6]?.subnet]);
    for (const [index, subnet] of subnets.entries())
      for (const other of subnets.slice(index + 1)) expect(subnet?.overlaps(other as Prefix)).toBe(false);
  });

  it("publishes drafts of two hosts as one network, and gives the second draft back", async () => {
    const { records } = store.network();
    const [one, two] = [catalogueOver(records), catalogueOver(records)];
    const drafts = await Promise.all([
      one.draft(4, poolRequest(), hostId(1), signal),
      two.draft(4, poolRequest(), hostId(2), signal),
    ]);
    expect(drafts[0].subnet.overlaps(drafts[1].subnet)).toBe(false);
    const published = await Promise.all([
      one.publish([drafts[0]], networkRequest("blue"), signal),
      two.publish([drafts[1]], networkRequest("blue"), signal),
    ]);
    expect(published.map(({ created }) => created).sort()).toEqual([false, true]);
    const next = await one.create(networkRequest("green"), signal);
    const winner = published[0].network.pools[4]?.subnet;
    const loser = drafts.map(({ subnet }) => subnet).find((subnet) => !subnet.equals(winner as Prefix));
    expect([loser?.toString(), winner?.toString()]).toContain(next.network.pools[4]?.subnet.toString());
    expect(next.network.pools[4]?.subnet.toString()).not.toBe(winner?.toString());
  });

  it("refuses to remove a network with a container, naming host and container", async () => {
    const { records } = store.network();
    const catalogue = catalogueOver(records);
    const { network } = await catalogue.create(networkRequest("blue"), signal);
    const address = network.pools[4]?.subnet.base.plus(2);
    if (address === undefined) throw new TypeError("the network has no pool");
    await records.write(hostRecord(hostId(1)), encodeHost(hostRecordOf(1)), null, signal);
    const name = membersRecord(network.id, hostId(1));
    const entry = await records.write(name, encodeMembers([memberOf("bbox1", { 4: address })]), null, signal);
    await records.write(`${addressFolder(network.id)}${address}`, "{}", null, signal);
    await expect(catalogue.remove(network.id, signal)).rejects.toThrow(/container bbox1 on host host1/);
    expect(await catalogue.list(signal)).toHaveLength(1);
    await records.remove(entry, signal);
    await catalogue.remove(network.id, signal);
    await catalogue.remove(network.id, signal);
    expect(await catalogue.list(signal)).toEqual([]);
    expect(await records.list(addressFolder(network.id), signal)).toEqual([]);
  });

  it("keeps damaged entries as they are, and their names, VNIs and ranges taken", async () => {
    const { records } = store.network();
    const damaged = [
      { id: "x", name: "odd\u001b[31m", vni: 4096, pools: { 4: { subnet: "10.128.0.0/24" } } },
      "not an object",
      { future: [1, 2, { deep: null }] },
    ];
    const text = JSON.stringify({ networks: damaged, drafts: [7], newField: { a: 1 } });
    await records.write(CATALOGUE_RECORD, text, null, signal);
    const catalogue = catalogueOver(records);
    const { network } = await catalogue.create(networkRequest("blue"), signal);
    expect(network.vni).toBe(4097);
    expect(network.pools[4]?.subnet.toString()).toBe("10.128.1.0/24");
    const root = JSON.parse((await records.read(CATALOGUE_RECORD, signal))?.value ?? "");
    expect(root.networks.slice(0, 3)).toEqual(damaged);
    expect(root.drafts).toEqual([7]);
    expect(root.newField).toEqual({ a: 1 });
    expect((await catalogue.inspect(signal)).map(({ problem }) => problem !== null)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    await catalogue.remove(network.id, signal);
    expect((await catalogue.inspect(signal)).length).toBe(3);
  });

  it("rejects a record that is not a catalogue, and leaves it", async () => {
    const { records } = store.network();
    await records.write(CATALOGUE_RECORD, "[broken", null, signal);
    const catalogue = catalogueOver(records);
    await expect(catalogue.create(networkRequest("blue"), signal)).rejects.toMatchObject({
      code: "TULLE_CONFLICT",
    });
    await expect(catalogue.remove("0".repeat(32) as NetworkId, signal)).rejects.toThrow(/damaged/);
    expect((await records.read(CATALOGUE_RECORD, signal))?.value).toBe("[broken");
  });

  it("stops before the record is too large for the store", async () => {
    const { records } = store.network();
    const catalogue = catalogueOver(records);
    const labels = { big: "x".repeat(90_000) };
    for (const name of ["a", "b", "c"]) await catalogue.create(networkRequest(name, { labels }), signal);
    await expect(catalogue.create(networkRequest("d", { labels }), signal)).rejects.toThrow(
      /remove networks that are not needed/,
    );
    expect(await catalogue.list(signal)).toHaveLength(3);
  });
});
