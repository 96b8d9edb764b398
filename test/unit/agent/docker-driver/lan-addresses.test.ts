/** Addresses of a LAN for another network driver: the engine alone knows which are in use. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";

const ADDRESS = "192.168.50.140";

let lab: DriverLab;
let one: DriverHost;

beforeEach(async () => {
  lab = new DriverLab();
  one = await lab.addHost();
  const config = [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.1" }];
  await one.engine.create("lan1", { driver: "macvlan", ipamDriver: "tulle", config });
  // Until then, requests for addresses are those of --aux-address.
  await eventually(() => one.feed.view.networks.size === 1);
});
afterEach(() => lab.dispose());

it("a running container keeps its address when tulled has started again", async () => {
  expect(await one.engine.run("a", "lan1", { ip: ADDRESS })).toBe(ADDRESS);
  await one.stopDriver();
  await one.startDriver();
  await expect(one.engine.run("b", "lan1", { ip: ADDRESS })).rejects.toThrow(/192\.168\.50\.140/);
});

it("the address of a container that ended without tulled is free for the same --ip again", async () => {
  await one.engine.run("a", "lan1", { ip: ADDRESS });
  await one.stopDriver();
  await one.engine.kill();
  one.engine.containers.clear();
  await one.engine.start();
  await one.startDriver();
  expect(await one.engine.run("a", "lan1", { ip: ADDRESS })).toBe(ADDRESS);
});

it("of a pool that is not in the store yet is no --aux-address", async () => {
  const config = [{ Subnet: "192.168.60.0/24" }];
  const ipamOptions = { "tulle.lan": "lan2" };
  await one.engine.create("lan2", { driver: "macvlan", ipamDriver: "tulle", ipamOptions, config });
  lab.isStoreCut = true;
  await eventually(() => one.driver.status().problems.some((problem) => problem.includes("lan2")));
  await expect(one.engine.run("a", "lan2", { ip: "192.168.60.9" })).rejects.toThrow(
    "the network is not in the store yet: try again",
  );
  lab.isStoreCut = false;
  const published = () => [...one.feed.view.networks.values()].find(({ name }) => name === "lan2");
  const network = await eventually(published, 20_000);
  expect(network.pools[4]?.excluded).toEqual([]);
  expect(await one.engine.run("a", "lan2", { ip: "192.168.60.9" })).toBe("192.168.60.9");
  await expect(one.engine.run("b", "lan2", { ip: "192.168.60.9" })).rejects.toThrow(/192\.168\.60\.9/);
});
