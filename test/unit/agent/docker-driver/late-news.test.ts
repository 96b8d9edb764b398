/** What the store or the engine tells late, and what the engine does while one of them is asked. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";
import { callPlugin } from "../../../support/fake-engine.ts";

const OURS = { ipamDriver: "tulle" };

let lab: DriverLab;
let one: DriverHost;
let two: DriverHost;

beforeEach(async () => {
  lab = new DriverLab();
  one = await lab.addHost();
  two = await lab.addHost();
});
afterEach(() => lab.dispose());

const isShown = (host: DriverHost, name: string) =>
  eventually(() => [...host.feed.view.networks.values()].some((network) => network.name === name));
/** Has the engine's containers compared again. */
const followAgain = async () => {
  await one.engine.kill();
  await one.engine.start();
  await pause(400);
};
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

it("a network stays where it was created when the store tells of it a moment late", async () => {
  lab.watchDelayMs = 800;
  const id = await one.engine.create("ov_net1", OURS);
  const isPublished = () => one.log.some(({ message }) => message === "docker network published");
  await Promise.race([eventually(isPublished), pause(300)]);
  // Its event has the networks compared again.
  await one.engine.create("ov_net2", { driver: "bridge" });
  await isShown(one, "ov_net1");
  await pause(300);
  expect(one.engine.network("ov_net1").id).toBe(id);
});

it("a network that is removed while it is published does not come back", async () => {
  lab.catalogueDelayMs = 300;
  await one.engine.create("ov_net1", OURS);
  await isShown(one, "ov_net1");
  await one.engine.remove("ov_net1");
  lab.catalogueDelayMs = 0;
  await pause(600);
  await eventually(() => one.feed.view.networks.size === 0 && two.networkNames().length === 0);
  expect(one.networkNames()).toEqual([]);
});

it("a network that is created again with its subnet while its removal is under way gets containers", async () => {
  const fixed = { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] };
  await one.engine.create("ov_net1", fixed);
  await eventually(() => two.networkNames().includes("ov_net1"));
  lab.watchDelayMs = 500;
  await one.engine.remove("ov_net1");
  await one.engine.create("ov_net1", fixed);
  lab.watchDelayMs = 0;
  await pause(1_000);
  await eventually(() => one.engine.run("bbox1", "ov_net1"));
  await eventually(() => two.networkNames().includes("ov_net1"));
  await eventually(() => two.engine.run("bbox2", "ov_net1"));
});

it("a network that is removed while the engine lists its networks does not come back", async () => {
  await one.engine.create("ov_net1", OURS);
  await eventually(() => two.networkNames().includes("ov_net1"));
  await pause(300);
  let answer = (): void => undefined;
  one.engine.listing = new Promise((resolve) => {
    answer = resolve;
  });
  // Its event has the networks compared.
  await one.engine.create("other", { driver: "bridge" });
  await pause(100);
  await one.engine.remove("ov_net1");
  answer();
  await eventually(() => two.networkNames().length === 0);
});

it("an endpoint that is being created stays, however often the engine's containers are compared", async () => {
  await one.engine.create("ov_net1", OURS);
  await isShown(one, "ov_net1");
  await one.engine.run("bbox1", "ov_net1");
  one.links.prepare = () => pause(1_300);
  const starting = one.engine.run("bbox2", "ov_net1");
  starting.catch(() => undefined);
  await pause(100);
  await followAgain();
  await followAgain();
  expect(await starting).toMatch(/^10\./);
});

it("an address of a LAN stays given to a container that starts while tulled starts", async () => {
  const config = [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.1" }];
  await one.engine.create("lan1", { driver: "macvlan", ipamDriver: "tulle", config });
  const { id } = await eventually(() => [...one.feed.view.networks.values()][0]);
  const [pool] = one.engine.network("lan1").pools;
  await callPlugin(one.pluginSocket, "IpamDriver.RequestAddress", { PoolID: pool?.poolId, Address: "" });
  expect(one.given(id)).toHaveLength(1);
  await one.stopDriver();
  await one.startDriver();
  await pause(300);
  await followAgain();
  await followAgain();
  expect(one.given(id)).toHaveLength(1);
});

it("a removal counts that the engine tells 8 s after tulled has started again", {
  timeout: 30_000,
}, async () => {
  await one.engine.create("ov_net1", OURS);
  await eventually(() => two.networkNames().includes("ov_net1"));
  await one.stopDriver();
  // dockerd repeats calls after 1, 2, 4 and 8 s.
  one.engine.removing = pause(8_500);
  const removal = one.engine.remove("ov_net1");
  await one.startDriver();
  for (let second = 0; second < 8; second += 1) {
    await pause(1_000);
    await one.engine.create(`other${second}`, { driver: "bridge" });
  }
  await removal;
  await eventually(() => two.networkNames().length === 0);
});
