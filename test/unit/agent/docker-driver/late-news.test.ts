/** What the store tells late, and what the engine does while the store is asked. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";

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
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

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
