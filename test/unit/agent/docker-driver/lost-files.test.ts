/** The driver without its files: lost while containers run, or on a full disk. */

import { mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  appears,
  type DriverHost,
  eventually,
  OURS,
  published,
  useDriverPair,
} from "../../../support/docker-driver-lab.ts";

const pair = useDriverPair();

const membersOf = (host: DriverHost) =>
  [...host.feed.view.members.values()].flatMap((hosts) =>
    [...hosts.values()].flatMap((each) => each.members),
  );

it.each([
  ["is damaged", (path: string) => writeFileSync(path, '{"version":1,"endpoints":[{')],
  ["is missing", (path: string) => rmSync(path)],
])("containers stay reachable and keep their addresses when the file of endpoints %s", async (_, lose) => {
  await pair.one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
  const { id } = await eventually(() => [...pair.one.feed.view.networks.values()][0]);
  await pair.one.engine.run("a", "blue", { mac: "02:42:0a:09:00:99", aliases: ["web"] });
  await eventually(() => membersOf(pair.two).some(({ names }) => names.includes("web")));
  const before = membersOf(pair.two);
  const losses: string[] = [];
  const unfollow = pair.two.feed.onChange(() => {
    if (membersOf(pair.two).length === 0) losses.push("the member vanished");
  });
  await pair.one.stopDriver();
  lose(join(pair.one.folder, "docker-endpoints.json"));
  await pair.one.startDriver();
  await eventually(() => pair.one.driver.status().networks[0]?.containers === 1);
  await eventually(() => membersOf(pair.one)[0]?.names.includes("web"));
  expect(membersOf(pair.two)).toEqual(before);
  expect(losses).toEqual([]);
  expect(pair.one.given(id).map(String)).toEqual(["10.9.0.2"]);
  unfollow();
  await pair.one.engine.disconnect("a", "blue");
  await eventually(() => membersOf(pair.two).length === 0);
  expect(pair.one.given(id)).toEqual([]);
});

it("an endpoint that cannot be written down is not there", async () => {
  await pair.one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
  await eventually(() => pair.two.feed.view.networks.size === 1);
  const path = join(pair.one.folder, "docker-endpoints.json");
  mkdirSync(path);
  // dockerd releases the address, and deletes no endpoint whose creation failed.
  const { Address } = await pair.one.engine.call("IpamDriver.RequestAddress", {
    ...{ PoolID: pair.one.engine.network("blue").pools[0]?.poolId, Address: "10.9.0.77", Options: null },
  });
  await expect(pair.one.engine.connectRaw("blue", String(Address))).rejects.toThrow();
  await pair.one.engine.call("IpamDriver.ReleaseAddress", {
    ...{ PoolID: pair.one.engine.network("blue").pools[0]?.poolId, Address: "10.9.0.77" },
  });
  rmdirSync(path);
  expect(await pair.one.engine.run("a", "blue", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  await eventually(() => membersOf(pair.two).some(({ names }) => names.includes("a")));
  expect(membersOf(pair.two)).toHaveLength(1);
});

it("a network of another host comes as soon as it can be written down", { timeout: 20_000 }, async () => {
  const { one, two } = pair;
  const path = join(two.folder, "docker-networks.json");
  rmSync(path, { force: true });
  // A folder cannot be replaced by a file.
  mkdirSync(path);
  await one.engine.create("blue", OURS);
  await published(two, "blue");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(two.networkNames()).toEqual([]);
  rmdirSync(path);
  await appears(two, "blue");
});

it("a join that cannot be written down leaves no pair behind", async () => {
  const { one } = pair;
  await one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
  await published(one, "blue");
  const ids = { NetworkID: one.engine.network("blue").id, EndpointID: "e".repeat(64) };
  const [pool] = one.engine.network("blue").pools;
  const { Address } = await one.engine.call("IpamDriver.RequestAddress", {
    PoolID: pool?.poolId,
    Options: null,
  });
  await one.engine.call("NetworkDriver.CreateEndpoint", { ...ids, Interface: { Address }, Options: {} });
  const path = join(one.folder, "docker-endpoints.json");
  rmSync(path);
  mkdirSync(path);
  one.links.delayMs = 300;
  await expect(one.engine.call("NetworkDriver.Join", ids)).rejects.toThrow();
  await one.engine.call("NetworkDriver.DeleteEndpoint", ids).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect([...one.links.present]).toEqual([]);
  rmdirSync(path);
});

it("a dual-stack network gives addresses of both families when the file of networks is missing", async () => {
  const { one } = pair;
  const config = [{ Subnet: "10.9.0.0/24" }, { Subnet: "fd09::/64" }];
  await one.engine.create("blue", { ...OURS, config, hasIpv6: true });
  await published(one, "blue");
  await eventually(() => one.log.some(({ message }) => message === "docker network published"));
  await one.stopDriver();
  rmSync(join(one.folder, "docker-networks.json"));
  await one.startDriver();
  await eventually(() => one.log.some(({ message }) => message === "docker network found"));
  const { pools } = one.engine.network("blue");
  const addresses = await Promise.all(
    pools.map(({ poolId }) =>
      one.engine.call("IpamDriver.RequestAddress", { PoolID: poolId, Address: "", Options: null }),
    ),
  );
  expect(addresses.map(({ Address }) => Address)).toEqual(["10.9.0.2/24", "fd09::2/64"]);
  const { id } = await published(one, "blue");
  for (const [index, { poolId }] of pools.entries())
    await one.engine.call("IpamDriver.ReleaseAddress", {
      ...{ PoolID: poolId, Address: String(addresses[index]?.Address).split("/")[0] },
    });
  expect(one.given(id)).toEqual([]);
});
