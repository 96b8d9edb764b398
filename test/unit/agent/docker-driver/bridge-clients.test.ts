/** Which networks a container gets names of, from its first query on. */

import { describe, expect, it } from "vitest";
import { BridgeClients } from "../../../../agent/docker-driver/bridge-clients.ts";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import type { DriverContext } from "../../../../agent/docker-driver/context.ts";
import { EngineError } from "../../../../agent/docker-driver/engine-client.ts";
import type { EngineNetworks } from "../../../../agent/docker-driver/engine-networks.ts";
import { joinedClients } from "../../../../agent/names/clients.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const SOURCE = Address.parse("172.18.0.5");
const CONTAINER = "c".repeat(64);
const EVENT = { action: "connect", network: "n", driver: "tulle" };

/** An engine whose docker_gwbridge has these containers. */
function start() {
  const clock = new FakeClock();
  const changes = new Changes(clock);
  const endpoints = new Map<string, object>();
  const listed = new Map<string, string>();
  let lists = 0;
  let isAway = false;
  const engineNetworks = {
    list: async () => {
      lists += 1;
      if (isAway) throw new EngineError("the engine does not answer", null);
      return [];
    },
    read: async () => ({
      endpoints: [...listed].map(([address, container]) => ({
        ...{ container, addresses: { 4: Address.parse(address) } },
      })),
    }),
  } as unknown as EngineNetworks;
  const feed = { view: { networks: new Map() } };
  const context = { clock, changes, feed, logger: silentLogger, state: { endpoints, networks: new Map() } };
  const clients = new BridgeClients(context as unknown as DriverContext, engineNetworks, () => 1);
  const stop = new AbortController();
  const running = clients.run(stop.signal);
  return {
    ...{ clock, clients, listed },
    lists: () => lists,
    goAway: () => {
      isAway = true;
    },
    comeBack: () => {
      isAway = false;
    },
    join: (container: string | null, endpoint = "e") => {
      endpoints.set(endpoint, { endpoint, container, isJoined: true, network: "net" });
      changes.notify();
    },
    end: async () => {
      stop.abort();
      await running;
    },
  };
}

/** How a promise stands; "waiting" while it is not settled. */
function watch<T>(promise: Promise<T>): { value: T | "waiting" } {
  const outcome: { value: T | "waiting" } = { value: "waiting" };
  void promise.then((value) => {
    outcome.value = value;
  });
  return outcome;
}

describe("the first query of a container that has just started", () => {
  it("waits until the engine has told of it", async () => {
    const { clock, clients, listed, join, end } = start();
    await clock.advance(1_000);
    join(null);
    listed.set(`${SOURCE}`, CONTAINER);
    const waited = watch(clients.untilKnown(SOURCE));
    await clock.advance(500);
    expect(clients.clientOf(SOURCE)).toEqual({ networks: [] });
    expect(waited.value).toBe("waiting");
    join(CONTAINER);
    await clock.advance(0);
    expect(waited.value).toBe(true);
    expect(clients.clientOf(SOURCE)).toEqual({ networks: ["net"] });
    expect(await clients.untilKnown(SOURCE)).toBe(false);
    await end();
  });

  it("waits although its address was another container's, and of none before", async () => {
    for (const former of ["d".repeat(64), null]) {
      const { clock, clients, listed, join, end } = start();
      if (former !== null) listed.set(`${SOURCE}`, former);
      clients.clientOf(SOURCE);
      await clock.advance(1_000);
      listed.set(`${SOURCE}`, CONTAINER);
      clients.networkChanged(EVENT);
      join(CONTAINER);
      const waited = watch(clients.untilKnown(SOURCE));
      await clock.advance(200);
      expect(waited.value).toBe(true);
      expect(clients.clientOf(SOURCE)).toEqual({ networks: ["net"] });
      await end();
    }
  });

  it("of a container without a network of ours waits for no other one that is known", async () => {
    const { clock, clients, listed, join, end } = start();
    listed.set(`${SOURCE}`, CONTAINER);
    clients.clientOf(SOURCE);
    await clock.advance(1_000);
    join("d".repeat(64), "on an internal network");
    expect(clients.clientOf(SOURCE)).toEqual({ networks: [] });
    expect(await clients.untilKnown(SOURCE)).toBe(false);
    await end();
  });

  it("waits a second at most, and not again for endpoints that the engine never tells of", async () => {
    const { clock, clients, listed, join, end } = start();
    listed.set(`${SOURCE}`, CONTAINER);
    await clock.advance(1_000);
    join(null);
    join("d".repeat(64), "on an internal network");
    const waited = watch(clients.untilKnown(SOURCE));
    await clock.advance(1_000);
    expect(waited.value).toBe(true);
    expect(await clients.untilKnown(SOURCE)).toBe(false);
    await end();
  });
});

describe("a source that is no container of the engine", () => {
  it("is looked for once, and again after a change or some seconds", async () => {
    const { clock, clients, lists, end } = start();
    await clock.advance(1_000);
    const before = lists();
    const ask = async (): Promise<void> => {
      for (let count = 0; count < 20; count += 1) {
        expect(clients.clientOf(SOURCE)).toBeNull();
        await clock.advance(100);
      }
    };
    await ask();
    expect(lists() - before).toBe(1);
    expect(await clients.untilKnown(SOURCE)).toBe(false);
    clients.containerChanged();
    await ask();
    expect(lists() - before).toBe(2);
    await clock.advance(10_000);
    await ask();
    expect(lists() - before).toBe(3);
    await end();
  });

  it("waits for no engine that does not answer", async () => {
    const { clock, clients, goAway, end } = start();
    await clock.advance(1_000);
    goAway();
    clients.clientOf(SOURCE);
    await clock.advance(1_000);
    expect(await clients.untilKnown(SOURCE)).toBe(false);
    await end();
  });

  it("waits for the engine that knows it only", async () => {
    const { clock, clients, join, end } = start();
    await clock.advance(1_000);
    join(null);
    const both = joinedClients([clients, { clientOf: () => ({ networks: [] }) }]);
    expect(await both.untilKnown?.(SOURCE)).toBe(false);
    await end();
  });
});

describe("an engine that does not run", () => {
  it("is asked ever less often", async () => {
    const { clock, clients, goAway, lists, end } = start();
    goAway();
    clients.refresh();
    await clock.advance(120_000);
    const before = lists();
    await clock.advance(160_000);
    expect(lists() - before).toBe(10);
    await end();
  });

  it("is asked within a second when it runs again", async () => {
    for (const laterMs of [500, 10_000]) {
      const { clock, clients, goAway, comeBack, lists, end } = start();
      goAway();
      clients.refresh();
      await clock.advance(120_000 + laterMs);
      comeBack();
      const before = lists();
      clients.refresh();
      await clock.advance(1_000);
      expect(lists() - before).toBe(1);
      await end();
    }
  });
});
