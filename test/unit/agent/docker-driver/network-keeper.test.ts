import { expect, it } from "vitest";
import { NetworkKeeper, type NetworkKeeperOptions } from "../../../../agent/docker-driver/network-keeper.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

it("tries again soon after news, however long the engine has failed", async () => {
  const clock = new FakeClock();
  let passes = 0;
  const options = {
    context: {
      ...{ clock, logger: silentLogger, feed: { view: { networks: new Map() } } },
      state: { removals: [], networks: new Map() },
    },
    engineNetworks: {
      list: () => {
        passes += 1;
        return Promise.reject(new Error("the engine does not answer"));
      },
    },
    settlement: {},
    random: () => 1,
  } as unknown as NetworkKeeperOptions;
  const keeper = new NetworkKeeper(options);
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  await clock.advance(120_000);
  const before = passes;
  keeper.wake();
  await clock.advance(1_000);
  expect(passes - before).toBeGreaterThanOrEqual(3);
  stop.abort();
  await running;
});

it("gives back a draft that no network came of, and leaves one that another driver's network waits with", async () => {
  const clock = new FakeClock();
  const drafts = ["10.9.0.0/24", "192.168.7.0/24"].map((subnet) => ({
    ...{ poolId: subnet, subnet: Prefix.parse(subnet), network: null, dockerId: null },
  }));
  const pools = new Map(drafts.map((draft) => [draft.poolId, draft]));
  const lan = { dockerId: "d", name: "lan", driver: "macvlan", ipamDriver: "tulle", options: {} };
  const options = {
    context: {
      ...{ clock, logger: silentLogger },
      feed: { view: { networks: new Map() }, storeProblem: null },
      state: { removals: new Set(), networks: new Map(), pools, endpointsOf: () => [] },
    },
    engineNetworks: { list: async () => [{ ...lan, subnets: [{ subnet: drafts[1]?.subnet }] }] },
    settlement: { publishLan: () => Promise.reject(new Error("the store is away")) },
    pools: {
      giveBack: async (poolId: string) => void pools.delete(poolId),
      noteCreated: () => undefined,
    },
    random: () => 1,
  } as unknown as NetworkKeeperOptions;
  const stop = new AbortController();
  const running = new NetworkKeeper(options).run(stop.signal);
  await clock.advance(50_000);
  expect([...pools.keys()]).toEqual(["10.9.0.0/24", "192.168.7.0/24"]);
  await clock.advance(90_000);
  expect([...pools.keys()]).toEqual(["192.168.7.0/24"]);
  stop.abort();
  await running;
});

it("takes a network for lost that an engine lacks for 10 s, and counts again after an outage of the engine", async () => {
  const clock = new FakeClock();
  const networks = new Map([["d", { dockerId: "d", network: "n" }]]);
  let isAway = false;
  let passes = 0;
  const options = {
    context: {
      ...{ clock, logger: silentLogger, changes: { notify: () => undefined } },
      feed: { view: { networks: new Map() }, storeProblem: "away" },
      book: { prepare: () => undefined },
      state: {
        ...{ removals: new Set(), networks, pools: new Map(), endpointsOf: () => [] },
        ownRemovals: new Set(),
        saveNetworks: async () => undefined,
      },
    },
    engineNetworks: {
      list: async () => {
        passes += 1;
        if (isAway) throw new Error("the engine does not answer");
        return [];
      },
      removed: async () => new Set(),
    },
    ...{ random: () => 1, dateMs: () => 0 },
  } as unknown as NetworkKeeperOptions;
  const stop = new AbortController();
  const running = new NetworkKeeper(options).run(stop.signal);
  await clock.advance(8_000);
  isAway = true;
  const before = passes;
  await clock.advance(60_000);
  expect(passes - before).toBeLessThan(12);
  isAway = false;
  await clock.advance(15_000);
  expect(networks.size).toBe(1);
  await clock.advance(10_500);
  expect(networks.size).toBe(0);
  stop.abort();
  await running;
});

it("goes on while its file cannot be written, and writes which networks the engine listed once it can", async () => {
  const clock = new FakeClock();
  const networks = new Map([["d", { dockerId: "d", network: "n", database: null as string | null }]]);
  let isDiskFull = true;
  let saved: string | null = null;
  const options = {
    context: {
      ...{ clock, logger: silentLogger, changes: { notify: () => undefined } },
      feed: { view: { networks: new Map() }, storeProblem: "away" },
      book: { prepare: () => undefined },
      state: {
        ...{ removals: new Set(), networks, pools: new Map(), endpointsOf: () => [] },
        saveNetworks: async () => {
          if (isDiskFull) throw new Error("no space left on device");
          saved = networks.get("d")?.database ?? null;
        },
      },
    },
    engineNetworks: {
      list: async () => [
        { dockerId: "none", name: "none", driver: "null", options: {}, subnets: [] },
        { dockerId: "d", name: "ov_net1", driver: "tulle", options: {}, subnets: [] },
      ],
    },
    random: () => 1,
  } as unknown as NetworkKeeperOptions;
  const stop = new AbortController();
  const keeper = new NetworkKeeper(options);
  const running = keeper.run(stop.signal);
  await clock.advance(60_000);
  expect([...keeper.problems]).toEqual([["ov_net1", "cannot be recorded: no space left on device"]]);
  isDiskFull = false;
  await clock.advance(20_000);
  expect(saved).toBe("none");
  expect(keeper.problems.size).toBe(0);
  stop.abort();
  await running;
});
