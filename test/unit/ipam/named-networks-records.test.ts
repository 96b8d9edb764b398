/** Records of hosts and members at their limits, and members that change in great number. */

import { afterAll, expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { StoreError } from "../../../ipam/errors.ts";
import { decodeHost, encodeHost, MAX_RECORD_LENGTH } from "../../../ipam/named-networks/member-codec.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import { NetworkMembers } from "../../../ipam/named-networks/network-members.ts";
import { hostRecord, membersRecord } from "../../../ipam/named-networks/record-names.ts";
import type { Records } from "../../../ipam/stores/contracts.ts";
import { settle } from "../../support/fake-clock.ts";
import {
  catalogueOver,
  createdNetwork,
  Folders,
  hostId,
  hostRecordOf,
  memberOf,
  networkRequest,
  startFeed,
} from "../../support/named-networks/lab.ts";
import { MemoryHolder, openMemoryStore } from "../../support/stores/memory-store.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(60_000);
const folders = new Folders();
afterAll(() => folders.dispose());

function storeOf(): Records {
  return openMemoryStore(new MemoryHolder(systemClock), testEnvironment).network("/test").records;
}

const at = (network: NamedNetwork, offset: number) => ({
  4: network.pools[4]?.subnet.base.plus(offset) as Address,
});

it("a host with a route to each of very many containers keeps its record, with the widest prefixes", () => {
  const routes = Array.from({ length: 2_000 }, (_, n) =>
    Prefix.of(Address.of(4, 0x0a000000n + BigInt(n)), 32),
  );
  const lan = Prefix.parse("192.168.0.0/16");
  const record = hostRecordOf(1, { localPrefixes: [...routes, lan] });
  const { localPrefixes } = decodeHost(encodeHost(record), hostId(1));
  expect(localPrefixes.map(String)).toContain("192.168.0.0/16");
});

it("a host whose VPN takes all packets keeps no network from being created", async () => {
  const records = storeOf();
  const localPrefixes = ["0.0.0.0/1", "128.0.0.0/1", "10.128.0.0/24"].map(Prefix.parse);
  await records.write(hostRecord(hostId(1)), encodeHost(hostRecordOf(1, { localPrefixes })), null, signal);
  const { network } = await catalogueOver(records).create(networkRequest("blue"), signal);
  expect(`${network.pools[4]?.subnet}`).toBe("10.128.1.0/24");
});

it("a host with more containers than a record can hold keeps those that fit, and says so", async () => {
  const records = storeOf();
  const network = await createdNetwork(records, "blue", "10.9.0.0/16", signal);
  const feed = startFeed({ records, number: 1, stateDir: folders.make(), clock: systemClock });
  const names = Array.from({ length: 20 }, (_, index) => `a-rather-long-alias-of-a-container-${index}`);
  for (let index = 0; index < 1_000; index += 1)
    feed.part.setMember(network.id, memberOf(`c${index}`, at(network, index + 2), { names }));
  const other = startFeed({ records, number: 2, stateDir: folders.make(), clock: systemClock });
  const known = () => other.part.view.members.get(network.id)?.get(hostId(1))?.members.length ?? 0;
  await expect.poll(known, { timeout: 20_000 }).toBeGreaterThan(300);
  const entry = await records.read(membersRecord(network.id, hostId(1)), signal);
  expect(entry?.value.length).toBeLessThanOrEqual(MAX_RECORD_LENGTH);
  expect(feed.part.problems.join()).toMatch(
    /network blue: .* containers of this host .* unknown to other hosts/,
  );
  expect(other.part.problems).toEqual([]);
  await Promise.all([feed.stop(), other.stop()]);
});

it("a thousand changes of members between two readings of the view are judged once", async () => {
  const records = storeOf();
  const network = await createdNetwork(records, "blue", "10.9.0.0/16", signal);
  const feed = startFeed({ records, number: 1, stateDir: folders.make(), clock: systemClock });
  await expect.poll(() => feed.part.view.networks.size).toBe(1);
  let judgements = 0;
  const { set } = NetworkMembers.prototype;
  NetworkMembers.prototype.set = function (...args) {
    judgements += 1;
    return set.apply(this, args);
  };
  try {
    for (let index = 0; index < 1_000; index += 1)
      feed.part.setMember(network.id, memberOf(`c${index}`, at(network, index + 2)));
    expect(feed.part.view.members.get(network.id)?.get(hostId(1))?.members).toHaveLength(1_000);
    expect(judgements).toBe(1);
  } finally {
    NetworkMembers.prototype.set = set;
    await feed.stop();
  }
});

it("a network stays when the store fails before it is known to be unused", async () => {
  const records = storeOf();
  const network = await createdNetwork(records, "blue", "10.9.0.0/16", signal);
  let lists = 0;
  const failing: Records = Object.create(records, {
    list: {
      value: async (...args: Parameters<Records["list"]>) => {
        lists += 1;
        if (lists === 2) throw new StoreError("no endpoint answers", { retryable: true });
        return await records.list(...args);
      },
    },
  });
  await expect(catalogueOver(failing).remove(network.id, signal)).rejects.toThrow("no endpoint answers");
  expect(await catalogueOver(records).list(signal)).toMatchObject([{ name: "blue" }]);
  await settle();
});
