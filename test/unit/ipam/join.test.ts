/** How a host without a lease comes by one, on a store in memory. */

import { describe, expect, it } from "vitest";
import { Address, entriesOf, Prefix } from "../../../ipam/addresses/ip.ts";
import { join } from "../../../ipam/leases/join.ts";
import { formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import { FOREVER, lab, networkOf, reached, signal } from "../../support/join-lab.ts";
import {
  attrs,
  joinOptions,
  network,
  subnets,
  TTL_SECONDS,
  value,
  watchedStore,
} from "../../support/lease-fixture.ts";

describe("a host without a lease", () => {
  it("creates one with its time to live", async () => {
    const { clock, store, enter } = lab();
    const membership = await enter(1);
    expect(membership).toMatchObject({
      origin: "new subnet",
      deadlineMs: clock.monotonicMs() + TTL_SECONDS * 1000,
    });
    expect((await store.feed.list(signal)).entries).toEqual([membership.entry]);
    expect(membership.entry.value).toBe(value(1));
  });

  it("asks the store for no more than the records, the key and the second look", async () => {
    const { clock, store } = lab();
    const { store: watched, calls } = watchedStore(store);
    const listing = await store.feed.list(signal);
    await join(joinOptions(watched, clock, 1), listing, signal);
    expect(calls).toEqual(["records.list", "leases.create", "leases.listCreatedAfter"]);
  });

  it("never takes one that this host reaches without the network, not even its own of before", async () => {
    const { enter } = lab();
    const local = [Prefix.parse("10.2.1.128/25"), Prefix.parse("10.2.2.0/23")].map((lan) => reached(lan));
    const previous = subnets("10.2.1.0-24");
    const { entry } = await enter(1, { config: networkOf(4), local, previous });
    expect(entry.key).toBe("10.2.4.0-24");
  });

  it("takes its previous subnet although its own containers' bridge has it, and no other's", async () => {
    const { enter } = lab();
    const local = [{ ...reached(Prefix.parse("10.2.1.0/24")), mayBeContainers: true }];
    const config = networkOf(2);
    expect((await enter(1, { config, local, previous: subnets("10.2.1.0-24") })).entry.key).toBe(
      "10.2.1.0-24",
    );
    expect((await enter(2, { config, local: [reached(Prefix.parse("10.2.1.0/24"))] })).entry.key).toBe(
      "10.2.2.0-24",
    );
  });

  it("takes none that covers another host's public address, and any beside a default route", async () => {
    const { enter } = lab();
    const config = networkOf(2);
    await enter(1, { config, attrs: attrs(1, { ip: "10.2.2.7" }), previous: subnets("10.2.1.0-24") });
    await expect(enter(2, { config })).rejects.toThrow("no subnet is free");
    const local = [reached(Prefix.parse("0.0.0.0/0")), reached(Prefix.parse("10.2.0.0/16"))];
    expect((await enter(3, { config: networkOf(3), local })).entry.key).toBe("10.2.3.0-24");
  });

  it("takes its previous subnet when that is free", async () => {
    const { enter } = lab();
    const previous = subnets("10.2.77.0-24");
    expect(await enter(1, { previous })).toMatchObject({
      origin: "previous subnet",
      entry: { key: "10.2.77.0-24" },
    });
    expect((await enter(2, { previous })).entry.key).not.toBe("10.2.77.0-24");
  });

  it.each(["10.3.77.0-24", "10.2.77.0-25", "10.2.0.0-24", "10.2.77.0-24&fd00:2::-64"])(
    "ignores the previous subnet %s, which the network would not give out",
    async (key) => {
      const { enter } = lab();
      const membership = await enter(1, { previous: subnets(key) });
      expect(membership.origin).toBe("new subnet");
    },
  );

  it("avoids what any key names: other lengths, both families, strays that flanneld would read", async () => {
    const { store, enter } = lab();
    const config = network(
      '{"Network":"10.2.0.0/20","SubnetMin":"10.2.1.0","SubnetMax":"10.2.6.0","Backend":{"Type":"vxlan"}}',
    );
    for (const key of [
      "10.2.0.0-23",
      "10.2.2.128-25",
      "10.2.3.0-24&fd00::-64",
      "x/10.2.4.7-24",
      "old10.2.5.0-24",
    ])
      await store.leases.create(key, "damaged", 60, signal);
    expect((await enter(1, { config })).entry.key).toBe("10.2.6.0-24");
    await expect(enter(2, { config })).rejects.toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
  });

  it.each(["10.2.0.0-16", "10.2.5.0-8", "10.2.128.0-17", "0.0.0.0-0&::-0", "1.2.3.4-1"])(
    "joins beside the key %s, which no host of the network can have leased",
    async (key) => {
      const { store, enter } = lab();
      await store.leases.create(key, value(9), Number.POSITIVE_INFINITY, signal);
      const { entry } = await enter(1);
      expect((await enter(1)).entry.key).toBe(entry.key);
    },
  );

  it("leases nothing of a lease that dates from before Network was shrunk to two subnets", async () => {
    const { store, enter } = lab();
    const config = network('{"Network":"10.2.2.0/23","SubnetLen":25,"Backend":{"Type":"vxlan"}}');
    await store.leases.create("10.2.2.0-24", value(9), 60, signal);
    const keys = [await enter(1, { config }), await enter(2, { config })].map(({ entry }) => entry.key);
    expect(keys.sort()).toEqual(["10.2.3.0-25", "10.2.3.128-25"]);
    await expect(enter(3, { config })).rejects.toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
  });

  it("names the keys that take several subnets when none is free, with the value and the remedy", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.0.0-22", '{"PublicIP":"192.168.0.9"}', FOREVER, signal);
    await store.leases.create("old10.2.4.0-24", "", FOREVER, signal);
    await enter(1, { config: networkOf(5) });
    const error: Error = await enter(2, { config: networkOf(5) }).catch((cause) => cause);
    expect(error).toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
    expect(error.message).toContain(
      'look first at key 10.2.0.0-22 with the value {"PublicIP":"192.168.0.9"}, which takes 3 of them, key old10.2.4.0-24 with the value "", which takes 1 of them, and run "tulle lease revoke KEY --yes" for what no host uses; else enlarge',
    );
  });

  it("leases both families at once", async () => {
    const { enter } = lab();
    const config = network(
      '{"Network":"10.2.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:2::/48","Backend":{"Type":"vxlan"}}',
    );
    const membership = await enter(1, { config });
    expect([...entriesOf(membership.subnets)].map(([family, { length }]) => [family, length])).toEqual([
      [4, 24],
      [6, 64],
    ]);
    expect(membership.entry.key).toContain("&fd00:2:");
  });

  const DUAL = network(
    '{"Network":"10.2.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:2::/48","Backend":{"Type":"vxlan"}}',
  );

  it("keeps the IPv4 subnet when the network gets IPv6, and when it loses it again", async () => {
    const { enter, store } = lab();
    const before = await enter(1, {});
    const dual = await enter(1, { config: DUAL });
    expect(dual.subnets[4]).toEqual(before.subnets[4]);
    expect(dual.subnets[6]?.length).toBe(64);
    expect(dual.givenUp).toEqual([before.entry.key]);
    const after = await enter(1, {});
    expect(after.entry.key).toBe(before.entry.key);
    expect((await store.feed.list(signal)).entries.map(({ key }) => key)).toEqual([before.entry.key]);
  });

  it("keeps its lease until it has another one that fits, as in a full network", async () => {
    const { enter, store } = lab();
    const before = await enter(1, {});
    const full = network(
      '{"Network":"10.9.0.0/16","SubnetMin":"10.9.1.0","SubnetMax":"10.9.1.0","Backend":{"Type":"vxlan"}}',
    );
    const rival = await enter(2, { config: full });
    const keys = async () => (await store.feed.list(signal)).entries.map(({ key }) => key).sort();
    await expect(enter(1, { config: full })).rejects.toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
    expect(await keys()).toEqual([before.entry.key, rival.entry.key].sort());
    await store.leases.remove(rival.entry, signal);
    expect((await enter(1, { config: full })).givenUp).toEqual([before.entry.key]);
    expect(await keys()).toEqual(["10.9.1.0-24"]);
  });

  it.each([
    ["loses a family", "10.2.7.0-24&fd00:2:0:7::-64", "10.2.7.0-24", network()],
    ["gets a family", "10.2.7.0-24", "10.2.7.0-24&fd00:2:0:7::-64", DUAL],
  ])("keeps the newer of its leases when it ended before the older was deleted: %s", async (...story) => {
    const [, older, newer, config] = story;
    const { enter, store } = lab();
    for (const key of [older, newer]) await store.leases.create(key, value(1), 60, signal);
    expect(await enter(1, { config })).toMatchObject({ entry: { key: newer }, givenUp: [older] });
    expect((await store.feed.list(signal)).entries.map(({ key }) => key)).toEqual([newer]);
  });

  it("leases IPv6 alone, and tells hosts apart by their IPv6 address", async () => {
    const { enter } = lab();
    const config = network(
      '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:2::/48","Backend":{"Type":"vxlan"}}',
    );
    const hosts = [1, 2].map((number) => ({ 6: Address.parse(`fd31::${number}`) }));
    const leases = [];
    for (const [index, publicAddress] of hosts.entries())
      leases.push(
        await enter(index + 1, { config, attrs: { ...attrs(index + 1), nodeId: null, publicAddress } }),
      );
    const [one, two] = leases;
    expect(one?.entry.key).toMatch(/^0\.0\.0\.0-0&fd00:2:/);
    expect(two?.entry.key).not.toBe(one?.entry.key);
    const again = await enter(1, {
      config,
      attrs: { ...attrs(1), nodeId: null, publicAddress: hosts[0] ?? {} },
    });
    expect(again.entry.key).toBe(one?.entry.key);
  });
});

describe("a network config without Backend", () => {
  const config = network('{"Network":"10.2.0.0/16"}');
  const udpValue = (n: number): string => formatLeaseValue(attrs(n, { backendType: "", backendData: {} }));

  it("means vxlan", async () => {
    const { enter } = lab();
    expect((await enter(1, { config })).origin).toBe("new subnet");
  });

  it("is refused where hosts live that run udp, with the remedy", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", udpValue(7), 60, signal);
    await expect(enter(1, { config })).rejects.toMatchObject({
      code: "TULLE_CONFIG",
      message: expect.stringMatching(
        /lease 10\.2\.5\.0-24 .*write Backend \{"Type":"udp"\} .*Backend \{"Type":"vxlan"\}/,
      ),
    });
  });

  it("is fine beside a reservation, which may say no more than an address", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", '{"PublicIP":"192.168.0.7"}', FOREVER, signal);
    expect((await enter(1, { config })).origin).toBe("new subnet");
  });
});
