/** How a host comes by its lease, on a store in memory. */

import { describe, expect, it } from "vitest";
import { Address, entriesOf, Prefix } from "../../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../../ipam/addresses/local-prefixes.ts";
import { StoreError } from "../../../ipam/errors.ts";
import { recordAffinity } from "../../../ipam/leases/affinity.ts";
import type { Membership } from "../../../ipam/leases/claimer.ts";
import { type JoinOptions, join } from "../../../ipam/leases/join.ts";
import { formatLeaseValue, parseLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import type { NetworkStore } from "../../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import {
  attrs,
  joinOptions,
  joinPatiently,
  memoryStore,
  network,
  nodeId,
  recordingLogger,
  subnets,
  TTL_SECONDS,
  value,
  watchedStore,
} from "../../support/lease-fixture.ts";

const signal = AbortSignal.timeout(60_000);
const FOREVER = Number.POSITIVE_INFINITY;

function lab() {
  const clock = new FakeClock();
  const store = memoryStore(clock);
  const options = (n: number, overrides: Partial<JoinOptions> = {}): JoinOptions =>
    joinOptions(store, clock, n, overrides);
  const enter = async (n: number, overrides: Partial<JoinOptions> = {}): Promise<Membership> => {
    const chosen = options(n, overrides);
    return await join(chosen, await chosen.store.feed.list(signal), signal);
  };
  return { clock, store, options, enter };
}

/** A network with exactly `count` subnets to lease. */
function networkOf(count: number): ReturnType<typeof network> {
  return network(
    `{"Network":"10.2.0.0/16","SubnetLen":24,"SubnetMin":"10.2.1.0","SubnetMax":"10.2.${count}.0","Backend":{"Type":"vxlan"}}`,
  );
}

/** A prefix that this host reaches by an interface of its own. */
const reached = (prefix: Prefix): LocalPrefix => ({
  prefix,
  kind: "link",
  origin: "eth1",
  gateway: null,
  mayBeContainers: false,
});

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

describe("two hosts at once", () => {
  it("give a subnet to the one whose key was created first", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const previous = subnets("10.2.9.0-24");
    const join1 = join(joinOptions(store, clock, 1, { previous }), listing, signal);
    const join2 = join(joinOptions(store, clock, 2, { previous }), listing, signal);
    const [first, second] = await Promise.all([join1, join2]);
    expect([first.entry.key, second.entry.key].filter((key) => key === "10.2.9.0-24")).toHaveLength(1);
    expect((await store.feed.list(signal)).entries).toHaveLength(2);
  });

  it("give up the younger of two leases that overlap", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const { store: watched } = watchedStore(store, async (method, key) => {
      if (method === "leases.create" && key === "10.2.9.0-24")
        await store.leases.create("10.2.8.0-23", value(7), 60, signal);
    });
    const previous = subnets("10.2.9.0-24");
    const membership = await join(joinOptions(watched, clock, 1, { previous }), listing, signal);
    expect(membership.origin).toBe("new subnet");
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(keys.sort()).toEqual([membership.entry.key, "10.2.8.0-23"].sort());
  });

  it("keep the older one, whatever comes after it", async () => {
    const { store, clock } = lab();
    const listing = await store.feed.list(signal);
    const { store: watched } = watchedStore(store, async (method) => {
      if (method === "leases.listCreatedAfter")
        await store.leases.create("10.2.8.0-23", value(7), 60, signal);
    });
    const previous = subnets("10.2.9.0-24");
    const membership = await join(joinOptions(watched, clock, 1, { previous }), listing, signal);
    expect(membership.entry.key).toBe("10.2.9.0-24");
  });
});

describe("a hundred hosts at once", () => {
  async function enterAll(hosts: number, config: ReturnType<typeof network>) {
    const { store, clock } = lab();
    const { store: watched, calls } = watchedStore(store);
    const listing = await store.feed.list(signal);
    const results = await Promise.allSettled(
      Array.from({ length: hosts }, (_, n) =>
        join(joinOptions(watched, clock, n + 1, { config }), listing, signal),
      ),
    );
    return { store, results, creates: calls.filter((call) => call === "leases.create").length };
  }

  it("rarely want the same subnet of a /16", async () => {
    const { store, creates } = await enterAll(100, network());
    expect((await store.feed.list(signal)).entries).toHaveLength(100);
    // By chance 100 of 255 places collide about 17 times; a common order would collide thousands of times.
    expect(creates - 100).toBeLessThan(50);
  });

  it("all get one of exactly a hundred subnets", async () => {
    const { store, results } = await enterAll(100, networkOf(100));
    expect(results.filter(({ status }) => status === "rejected")).toEqual([]);
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(new Set(keys).size).toBe(100);
  });

  it("leave exactly one without when there are 99, which says the numbers", async () => {
    const { results } = await enterAll(100, networkOf(99));
    const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    expect(failed).toHaveLength(1);
    expect(failed[0]).toMatchObject({ code: "TULLE_NO_FREE_SUBNET", retryable: true });
    expect(String(failed[0].message)).toContain("all 99 subnets /24 from 10.2.1.0 to 10.2.99.0 are leased");
  });
});

describe("waiting for a subnet", () => {
  it("is said once, and ends when one is free", async () => {
    const { store, clock, enter } = lab();
    const config = networkOf(1);
    const holder = await enter(1, { config });
    const logger = recordingLogger();
    const options = joinOptions(store, clock, 2, { config, logger });
    const joining = joinPatiently(options, signal);
    await clock.advance(20_000);
    expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(logger.lines[0]?.fields).toMatchObject({ code: "TULLE_NO_FREE_SUBNET" });
    await store.leases.remove(holder.entry, signal);
    await clock.advance(30_000);
    expect((await joining).entry.key).toBe("10.2.1.0-24");
  });

  it("ends in an error when the configuration changes meanwhile", async () => {
    const { store, clock, enter } = lab();
    const config = networkOf(1);
    await enter(1, { config });
    await store.config.write('{"Network":"10.2.0.0/16"}', null, signal);
    const options = joinOptions(store, clock, 2, { config });
    const joining = joinPatiently(options, signal);
    const outcome = expect(joining).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    await settle();
    await clock.advance(1000);
    await outcome;
  });
});

describe("a host that had a lease", () => {
  it("keeps it without a write when nothing changed", async () => {
    const { clock, store, enter } = lab();
    const first = await enter(1);
    await clock.advance(10_000);
    const { store: watched, calls } = watchedStore(store);
    const again = await join(joinOptions(watched, clock, 1), await store.feed.list(signal), signal);
    expect(again).toEqual({
      ...first,
      origin: "kept",
      deadlineMs: clock.monotonicMs() + TTL_SECONDS * 1000,
    });
    expect(calls).toEqual(["leases.keepAlive"]);
  });

  it("moves it with a new address, in the same store lease", async () => {
    const { store, enter } = lab();
    const first = await enter(1);
    const again = await enter(1, { attrs: attrs(1, { ip: "192.168.9.9" }) });
    expect(again).toMatchObject({ origin: "kept", entry: { key: first.entry.key } });
    expect(again.entry.storeLeaseId).toBe(first.entry.storeLeaseId);
    expect(
      parseLeaseValue((await store.feed.list(signal)).entries[0]?.value ?? "").publicAddress[4]?.toString(),
    ).toBe("192.168.9.9");
  });

  it("gives it another time to live when that was changed", async () => {
    const { clock, enter } = lab();
    await enter(1);
    expect((await enter(1, { ttlSeconds: 600 })).deadlineMs).toBe(clock.monotonicMs() + 600_000);
    await clock.advance(300_000);
    expect((await enter(1, { ttlSeconds: 600 })).origin).toBe("kept");
  });

  it.each([
    ["flanneld ran here", null],
    ["it was installed again", nodeId(99)],
  ])("adopts one with its address: %s", async (_, formerId) => {
    const { store, enter, clock } = lab();
    const former = await store.leases.create("10.2.5.0-24", value(1, { nodeId: formerId }), 1000, signal);
    const adopted = await enter(1);
    expect(adopted).toMatchObject({ origin: "adopted", entry: { key: "10.2.5.0-24", value: value(1) } });
    expect(adopted.entry.storeLeaseId).not.toBe(former.storeLeaseId);
    expect(adopted.deadlineMs).toBe(clock.monotonicMs() + TTL_SECONDS * 1000);
  });

  it("keeps a reservation as one", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", '{"PublicIP":"192.168.0.1"}', FOREVER, signal);
    const first = await enter(1);
    expect(first).toMatchObject({ origin: "adopted", deadlineMs: FOREVER, entry: { storeLeaseId: null } });
    expect(await enter(1)).toMatchObject({
      origin: "kept",
      entry: { key: "10.2.5.0-24", storeLeaseId: null },
    });
  });

  it("prefers its node id over its address, and drops what else is its own", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", value(1, { nodeId: null }), 60, signal);
    await store.leases.create("10.2.6.0-24", value(1), 60, signal);
    await store.leases.create("10.2.7.0-24", value(1, { ip: "192.168.9.9" }), 60, signal);
    expect((await enter(1)).entry.key).toBe("10.2.6.0-24");
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(keys.sort()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });

  it.each(["10.9.5.0-24", "10.2.5.0-26", "10.2.0.0-24"])(
    "gives up %s, which is not of the network as it is now",
    async (key) => {
      const { store, enter } = lab();
      await store.leases.create(key, value(1), 60, signal);
      const membership = await enter(1);
      expect(membership).toMatchObject({ origin: "new subnet", givenUp: [key] });
      expect((await store.feed.list(signal)).entries.map((entry) => entry.key)).toEqual([
        membership.entry.key,
      ]);
    },
  );

  it("gives up one that an older lease overlaps", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.4.0-23", value(7), 60, signal);
    await store.leases.create("10.2.5.0-24", value(1), 60, signal);
    expect((await enter(1)).entry.key).not.toBe("10.2.5.0-24");
  });

  it("looks again when the lease changed under its hands", async () => {
    const { store, clock } = lab();
    const theirs = await store.leases.create("10.2.5.0-24", value(1, { nodeId: null }), 60, signal);
    const listing = await store.feed.list(signal);
    await store.leases.remove(theirs, signal);
    expect((await join(joinOptions(store, clock, 1), listing, signal)).origin).toBe("new subnet");
  });

  it("leaves its lease to the other host when it must renumber", async () => {
    const { enter } = lab();
    const first = await enter(1);
    const moved = await enter(1, { isRenumbering: true });
    expect(moved.origin).toBe("new subnet");
    expect(moved.entry.key).not.toBe(first.entry.key);
  });
});

describe("affinity", () => {
  it("brings a host back that was away longer than its lease", async () => {
    const { store, clock, enter } = lab();
    const first = await enter(1);
    await recordAffinity(store.records, first.entry.key, attrs(1), signal);
    await clock.advance(TTL_SECONDS * 2000);
    expect((await store.feed.list(signal)).entries).toEqual([]);
    expect((await enter(1)).entry.key).toBe(first.entry.key);
  });

  it("leaves used subnets to the last, then takes the longest unused", async () => {
    const { store, enter } = lab();
    const config = networkOf(4);
    for (const [n, key] of [
      [11, "10.2.3.0-24"],
      [12, "10.2.1.0-24"],
      [11, "10.2.3.0-24"],
    ] as const)
      await recordAffinity(store.records, key, attrs(n), signal);
    const keys: string[] = [];
    for (const n of [1, 2, 3, 4]) keys.push((await enter(n, { config })).entry.key);
    expect(keys.slice(0, 2).sort()).toEqual(["10.2.2.0-24", "10.2.4.0-24"]);
    expect(keys.slice(2)).toEqual(["10.2.1.0-24", "10.2.3.0-24"]);
  });

  it("loses to a host that took the subnet", async () => {
    const { store, enter } = lab();
    await recordAffinity(store.records, "10.2.9.0-24", attrs(1), signal);
    await store.leases.create("10.2.9.0-24", value(2), 60, signal);
    expect((await enter(1)).entry.key).not.toBe("10.2.9.0-24");
  });

  it("survives records that cannot be read", async () => {
    const { store, enter } = lab();
    await store.records.write("affinity/nonsense", "{", null, signal);
    await store.records.write("affinity/10.2.9.0-24", "{", null, signal);
    expect((await enter(1)).origin).toBe("new subnet");
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

describe("an answer that got lost", () => {
  it("is found again as our own lease", async () => {
    const { store, clock } = lab();
    let isFirst = true;
    const lossy: NetworkStore = {
      ...store,
      leases: {
        ...store.leases,
        create: async (...parameters) => {
          const created = await store.leases.create(...parameters);
          if (!isFirst) return created;
          isFirst = false;
          throw new StoreError("no answer", { retryable: true, details: { outcomeUnknown: true } });
        },
      },
    };
    const options = joinOptions(lossy, clock, 1);
    const joining = joinPatiently(options, signal);
    await clock.advance(2000);
    expect((await joining).origin).toBe("kept");
    expect((await store.feed.list(signal)).entries).toHaveLength(1);
  });
});
