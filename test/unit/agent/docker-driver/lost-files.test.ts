/** The driver without its files: lost while containers run, or on a full disk. */

import { mkdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";

let lab: DriverLab;
let one: DriverHost;
let two: DriverHost;

beforeEach(async () => {
  lab = new DriverLab();
  one = await lab.addHost();
  two = await lab.addHost();
});
afterEach(() => lab.dispose());

const membersOf = (host: DriverHost) =>
  [...host.feed.view.members.values()].flatMap((hosts) =>
    [...hosts.values()].flatMap((each) => each.members),
  );

it.each([
  ["is damaged", (path: string) => writeFileSync(path, '{"version":1,"endpoints":[{')],
  ["is missing", (path: string) => rmSync(path)],
])("containers stay reachable and keep their addresses when the file of endpoints %s", async (_, lose) => {
  await one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
  const { id } = await eventually(() => [...one.feed.view.networks.values()][0]);
  await one.engine.run("a", "blue", { mac: "02:42:0a:09:00:99", aliases: ["web"] });
  await eventually(() => membersOf(two).some(({ names }) => names.includes("web")));
  const before = membersOf(two);
  const losses: string[] = [];
  const unfollow = two.feed.onChange(() => {
    if (membersOf(two).length === 0) losses.push("the member vanished");
  });
  await one.stopDriver();
  lose(join(one.folder, "docker-endpoints.json"));
  await one.startDriver();
  await eventually(() => one.driver.status().networks[0]?.containers === 1);
  await eventually(() => membersOf(one)[0]?.names.includes("web"));
  expect(membersOf(two)).toEqual(before);
  expect(losses).toEqual([]);
  expect(one.given(id).map(String)).toEqual(["10.9.0.2"]);
  unfollow();
  await one.engine.disconnect("a", "blue");
  await eventually(() => membersOf(two).length === 0);
  expect(one.given(id)).toEqual([]);
});

it("an endpoint that cannot be written down is not there", async () => {
  await one.engine.create("blue", { ipamDriver: "tulle", config: [{ Subnet: "10.9.0.0/24" }] });
  await eventually(() => two.feed.view.networks.size === 1);
  const path = join(one.folder, "docker-endpoints.json");
  mkdirSync(path);
  // dockerd releases the address, and deletes no endpoint whose creation failed.
  const { Address } = await one.engine.call("IpamDriver.RequestAddress", {
    ...{ PoolID: one.engine.network("blue").pools[0]?.poolId, Address: "10.9.0.77", Options: null },
  });
  await expect(one.engine.connectRaw("blue", String(Address))).rejects.toThrow();
  await one.engine.call("IpamDriver.ReleaseAddress", {
    ...{ PoolID: one.engine.network("blue").pools[0]?.poolId, Address: "10.9.0.77" },
  });
  rmdirSync(path);
  expect(await one.engine.run("a", "blue", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  await eventually(() => membersOf(two).some(({ names }) => names.includes("a")));
  expect(membersOf(two)).toHaveLength(1);
});
