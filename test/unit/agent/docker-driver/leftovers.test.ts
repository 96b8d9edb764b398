/** What calls of the engine leave behind that failed, came too late, or were never made. */

import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import type { DriverContext } from "../../../../agent/docker-driver/context.ts";
import type { NetworkId } from "../../../../agent/docker-driver/network-id.ts";
import { RETRIED } from "../../../../agent/docker-driver/plugin-server.ts";
import { Pools } from "../../../../agent/docker-driver/pools.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { CATALOGUE_RECORD } from "../../../../ipam/named-networks/record-names.ts";
import { type DriverHost, eventually, useDriverPair } from "../../../support/docker-driver-lab.ts";
import { callPlugin } from "../../../support/plugin-call.ts";

const signal = AbortSignal.timeout(60_000);

const pair = useDriverPair();

const requestPool = (options: object = {}) =>
  callPlugin(pair.one.pluginSocket, "IpamDriver.RequestPool", {
    ...{ AddressSpace: "tulle", Pool: "10.9.0.0/24", SubPool: "", V6: false, Options: {} },
    ...options,
  });
const create = (rest: object = {}) =>
  pair.one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24", ...rest }] });
const published = (host: DriverHost) => eventually(() => [...host.feed.view.networks.values()][0]);
const readCatalogue = async () => {
  const entry = await pair.lab.connection.network("/test").records.read(CATALOGUE_RECORD, signal);
  return { entry, root: JSON.parse(entry?.value ?? "{}") as { networks?: object[]; drafts?: object[] } };
};
const hasNoDraft = async () => ((await readCatalogue()).root.drafts ?? []).length === 0;

describe("a pool that the engine never heard of", () => {
  it("does not get the network that is created with its subnet", async () => {
    await requestPool();
    await create({ Gateway: "10.9.0.254" });
    const network = await published(pair.one);
    expect(String(network.pools[4]?.gateway)).toBe("10.9.0.254");
    await eventually(() => pair.two.networkNames().includes("blue"));
    expect(await pair.one.engine.run("a", "blue")).toBe("10.9.0.1");
    expect(await pair.one.engine.run("b", "blue", { ip: "10.9.0.77" })).toBe("10.9.0.77");
    expect(pair.one.given(network.id).map(String)).toEqual(["10.9.0.1", "10.9.0.77"]);
    await expect(pair.two.engine.run("c", "blue", { ip: "10.9.0.77" })).rejects.toThrow("10.9.0.77");
  });

  it("is given back when it cannot be written down", async () => {
    const inTheWay = join(pair.one.folder, "docker-networks.json");
    mkdirSync(inTheWay);
    await expect(create()).rejects.toThrow();
    rmdirSync(inTheWay);
    expect(await hasNoDraft()).toBe(true);
  });

  it("is given back when it came too late", async () => {
    pair.lab.catalogueDelayMs = 2_000;
    await expect(create()).rejects.toThrow(/did not finish within/);
    pair.lab.catalogueDelayMs = 0;
    await eventually(hasNoDraft);
  });
});

describe("an address that the engine has and the store does not", () => {
  it("is taken before a container gets it", async () => {
    await create();
    const network = await published(pair.one);
    await eventually(() => pair.two.networkNames().includes("blue"));
    await pair.two.engine.run("a", "blue", { ip: "10.9.0.77" });
    await expect(pair.one.engine.connectRaw("blue", "10.9.0.77/24")).rejects.toThrow("10.9.0.77 is held by");
    await pair.one.engine.connectRaw("blue", "10.9.0.78/24");
    expect(pair.one.given(network.id).map(String)).toEqual(["10.9.0.78"]);
  });
});

describe("while a pair is deleted slowly", () => {
  let finish = (): void => undefined;
  const address = "10.9.0.77";

  beforeEach(async () => {
    await create();
    await published(pair.one);
    await pair.one.engine.run("a", "blue", { ip: address });
    const { remove } = pair.one.links;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    pair.one.links.remove = async (endpoint) => {
      await slow;
      await remove.call(pair.one.links, endpoint);
    };
    await pair.one.engine.disconnect("a", "blue");
  });
  afterEach(() => finish());

  it("its address stays given, and no longer than that", async () => {
    const { id } = await published(pair.one);
    expect(pair.one.given(id).map(String)).toEqual([address]);
    finish();
    await eventually(() => pair.one.given(id).length === 0);
  });

  it("a start that asks for the same address waits", async () => {
    const starting = pair.one.engine.run("b", "blue", { ip: address });
    setTimeout(() => finish(), 300);
    expect(await starting).toBe(address);
    expect(pair.one.given((await published(pair.one)).id).map(String)).toEqual([address]);
  });

  it("a start that cannot wait longer is retried", async () => {
    const starting = pair.one.engine.run("b", "blue", { ip: address });
    await expect(starting).rejects.toThrow(`still leaving: try again in a moment (${RETRIED})`);
  });

  it("a removal of the network gives the address back", async () => {
    const { id } = await published(pair.one);
    await callPlugin(pair.one.pluginSocket, "NetworkDriver.DeleteNetwork", {
      NetworkID: pair.one.engine.network("blue").id,
    }).catch(() => undefined);
    finish();
    await eventually(() => pair.one.given(id).length === 0);
  });
});

describe("a network that is gone", () => {
  it("from the store gets the addresses of its containers back", async () => {
    await create();
    const { id } = await published(pair.one);
    await eventually(() => pair.two.networkNames().includes("blue"));
    await pair.two.engine.run("a", "blue");
    const { entry, root } = await readCatalogue();
    const { records } = pair.lab.connection.network("/test");
    await records.write(CATALOGUE_RECORD, JSON.stringify({ ...root, networks: [] }), entry, signal);
    await eventually(() => pair.two.feed.view.networks.size === 0);
    expect(pair.two.given(id)).toHaveLength(1);
    await pair.two.engine.removeContainer("a");
    expect(pair.two.given(id)).toEqual([]);
  });

  it("from the engine gets the addresses of endpoints back that the engine did not release", async () => {
    await create();
    const { id } = await published(pair.one);
    await pair.one.engine.run("a", "blue");
    expect(pair.one.given(id)).toHaveLength(1);
    await callPlugin(pair.one.pluginSocket, "NetworkDriver.DeleteNetwork", {
      NetworkID: pair.one.engine.network("blue").id,
    });
    expect(pair.one.given(id)).toEqual([]);
  });
});

describe("a removal of a network", () => {
  it("counts although the pair of one of its endpoints cannot be deleted", async () => {
    await create();
    await eventually(() => pair.two.networkNames().includes("blue"));
    await pair.one.engine.run("a", "blue");
    pair.one.links.remove = async () => {
      throw new Error("the kernel is busy");
    };
    await pair.one.engine.removeContainer("a").catch(() => undefined);
    pair.one.engine.containers.clear();
    await pair.one.engine.remove("blue");
    await eventually(() => pair.two.networkNames().length === 0);
  });

  it("leaves the driver running when it cannot be written down", async () => {
    await create();
    await eventually(() => pair.two.networkNames().includes("blue"));
    const path = join(pair.one.folder, "docker-networks.json");
    rmSync(path);
    mkdirSync(path);
    await pair.one.engine.remove("blue");
    await eventually(() => pair.two.networkNames().length === 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    rmdirSync(path);
    await create();
    await eventually(() => pair.two.networkNames().includes("blue"));
    await eventually(() => pair.one.driver.status().problems.length === 0);
  });
});

it("a network that the engine lost while we did not run takes its containers and addresses along", {
  timeout: 30_000,
}, async () => {
  await create();
  const { id } = await published(pair.one);
  await pair.one.engine.run("a", "blue");
  const lost = pair.one.engine.network("blue").id;
  await pair.one.stopDriver();
  pair.one.engine.containers.clear();
  pair.one.engine.networks.clear();
  await pair.one.startDriver();
  await eventually(() => pair.one.driver.status().engineProblem === null);
  const known = () => pair.one.driver.status().networks.map(({ dockerId }) => dockerId);
  for (const name of ["red", "green"]) await pair.one.engine.create(name, { ipamDriver: "tulle" });
  await eventually(() => !known().includes(lost), 15_000);
  // Its events are followed again, so that everything is compared.
  await pair.one.engine.kill();
  await pair.one.engine.start();
  await eventually(() => pair.one.links.present.size === 0);
  await eventually(() => pair.one.given(id).length === 0);
  const members = () =>
    [...(pair.two.feed.view.members.get(id)?.values() ?? [])].flatMap((each) => each.members);
  await eventually(() => members().length === 0);
});

it("a pool whose network was published a moment ago waits for the view, and is gone once the store is followed", async () => {
  const id = "a".repeat(32) as NetworkId;
  const subnet = Prefix.parse("10.9.0.0/24");
  const networks = new Map<string, object>();
  const feed = { view: { networks }, storeProblem: null as string | null };
  const changes = new Changes(systemClock);
  const poolId = `tulle/${"b".repeat(32)}/4`;
  const record = { poolId, family: 4, subnet, network: id, dockerId: "d" };
  const state = { pools: new Map([[poolId, record]]) };
  const context = { changes, feed, state } as unknown as DriverContext;
  const later = new Pools(context);
  await expect(later.resolveNetwork(poolId, signal)).rejects.toThrow(/remove it and create it again/);
  feed.storeProblem = "out of reach";
  await expect(later.resolveNetwork(poolId, signal)).rejects.toThrow(/not in the store yet/);
  feed.storeProblem = null;
  state.pools.set(poolId, { ...record, network: null } as never);
  const pools = new Pools(context);
  state.pools.set(poolId, record);
  await expect(pools.resolveNetwork(poolId, signal)).rejects.toThrow(/not in the store yet/);
  const waiting = pools.resolveNetwork(poolId, signal);
  networks.set(id, { id, pools: { 4: { subnet } } });
  changes.notify();
  expect((await waiting).network.id).toBe(id);
  networks.clear();
  feed.storeProblem = null;
  await expect(pools.resolveNetwork(poolId, signal)).rejects.toThrow(/remove it and create it again/);
});
