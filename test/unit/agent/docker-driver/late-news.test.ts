/** What the store or the engine tells late, and what the engine does while one of them is asked. */

import { expect, it } from "vitest";
import { type DriverHost, eventually, OURS, useDriverPair } from "../../../support/docker-driver-lab.ts";
import { callPlugin } from "../../../support/plugin-call.ts";

const pair = useDriverPair();

const isShown = (host: DriverHost, name: string) =>
  eventually(() => [...host.feed.view.networks.values()].some((network) => network.name === name));
/** Has the engine's containers compared again. */
const followAgain = async () => {
  await pair.one.engine.kill();
  await pair.one.engine.start();
  await pause(400);
};
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

it("a network stays where it was created when the store tells of it a moment late", async () => {
  pair.lab.watchDelayMs = 800;
  const id = await pair.one.engine.create("ov_net1", OURS);
  const isPublished = () => pair.one.log.some(({ message }) => message === "docker network published");
  await Promise.race([eventually(isPublished), pause(300)]);
  // Its event has the networks compared again.
  await pair.one.engine.create("ov_net2", { driver: "bridge" });
  await isShown(pair.one, "ov_net1");
  await pause(300);
  expect(pair.one.engine.network("ov_net1").id).toBe(id);
});

it("a network that is removed while it is published does not come back", async () => {
  pair.lab.catalogueDelayMs = 300;
  await pair.one.engine.create("ov_net1", OURS);
  await isShown(pair.one, "ov_net1");
  await pair.one.engine.remove("ov_net1");
  pair.lab.catalogueDelayMs = 0;
  await pause(600);
  await eventually(() => pair.one.feed.view.networks.size === 0 && pair.two.networkNames().length === 0);
  expect(pair.one.networkNames()).toEqual([]);
});

it("a network that is created again with its subnet while its removal is under way gets containers", async () => {
  const fixed = { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] };
  await pair.one.engine.create("ov_net1", fixed);
  await eventually(() => pair.two.networkNames().includes("ov_net1"));
  pair.lab.watchDelayMs = 500;
  await pair.one.engine.remove("ov_net1");
  await pair.one.engine.create("ov_net1", fixed);
  pair.lab.watchDelayMs = 0;
  await pause(1_000);
  await eventually(() => pair.one.engine.run("bbox1", "ov_net1"));
  await eventually(() => pair.two.networkNames().includes("ov_net1"));
  await eventually(() => pair.two.engine.run("bbox2", "ov_net1"));
});

it("a network that is removed while the engine lists its networks does not come back", async () => {
  await pair.one.engine.create("ov_net1", OURS);
  await eventually(() => pair.two.networkNames().includes("ov_net1"));
  await pause(300);
  let answer = (): void => undefined;
  pair.one.engine.listing = new Promise((resolve) => {
    answer = resolve;
  });
  // Its event has the networks compared.
  await pair.one.engine.create("other", { driver: "bridge" });
  await pause(100);
  await pair.one.engine.remove("ov_net1");
  answer();
  await eventually(() => pair.two.networkNames().length === 0);
});

it("an endpoint that is being created stays, however often the engine's containers are compared", async () => {
  await pair.one.engine.create("ov_net1", OURS);
  await isShown(pair.one, "ov_net1");
  await pair.one.engine.run("bbox1", "ov_net1");
  pair.one.links.prepare = () => pause(1_300);
  const starting = pair.one.engine.run("bbox2", "ov_net1");
  starting.catch(() => undefined);
  await pause(100);
  await followAgain();
  await followAgain();
  expect(await starting).toMatch(/^10\./);
});

it("an address of a LAN stays given to a container that starts while tulled starts", async () => {
  const config = [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.1" }];
  await pair.one.engine.create("lan1", { driver: "macvlan", ipamDriver: "tulle", config });
  const { id } = await eventually(() => [...pair.one.feed.view.networks.values()][0]);
  const [pool] = pair.one.engine.network("lan1").pools;
  await callPlugin(pair.one.pluginSocket, "IpamDriver.RequestAddress", { PoolID: pool?.poolId, Address: "" });
  expect(pair.one.given(id)).toHaveLength(1);
  await pair.one.stopDriver();
  await pair.one.startDriver();
  await pause(300);
  await followAgain();
  await followAgain();
  expect(pair.one.given(id)).toHaveLength(1);
});

it("a removal counts that the engine tells 8 s after tulled has started again", {
  timeout: 30_000,
}, async () => {
  await pair.one.engine.create("ov_net1", OURS);
  await eventually(() => pair.two.networkNames().includes("ov_net1"));
  await pair.one.stopDriver();
  // dockerd repeats calls after 1, 2, 4 and 8 s.
  pair.one.engine.removing = pause(8_500);
  const removal = pair.one.engine.remove("ov_net1");
  await pair.one.startDriver();
  for (let second = 0; second < 8; second += 1) {
    await pause(1_000);
    await pair.one.engine.create(`other${second}`, { driver: "bridge" });
  }
  await removal;
  await eventually(() => pair.two.networkNames().length === 0);
});
