/** Drivers and engines that stop, die and start. */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RETRIED } from "../../../../agent/docker-driver/plugin-server.ts";
import {
  appears,
  disappears,
  eventually,
  membersOf,
  OURS,
  published,
  useDriverPair,
} from "../../../support/docker-driver-lab.ts";

const pair = useDriverPair();

describe("restarts", () => {
  it("of the driver keep endpoints, and containers go on without a call", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    const address = await pair.one.engine.run("a", "ov_net1");
    await pair.one.stopDriver();
    expect(existsSync(pair.one.pluginSocket)).toBe(false);
    await pair.one.startDriver();
    await eventually(() =>
      membersOf(pair.two, "ov_net1").some(({ addresses }) => String(addresses[4]) === address),
    );
    await pair.one.engine.disconnect("a", "ov_net1");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 0);
  });

  it("of the driver with damaged files find networks and endpoints again", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    await pair.one.stopDriver();
    for (const name of ["docker-networks.json", "docker-endpoints.json"])
      writeFileSync(join(pair.one.folder, name), '{"version":1,"networks":[{');
    await pair.one.startDriver();
    await eventually(() => pair.one.driver.status().networks[0]?.network === "ov_net1");
    expect(pair.one.log.some(({ message }) => message.includes("damaged"))).toBe(true);
    expect(await pair.one.engine.run("a", "ov_net1")).toMatch(/\.2$/);
  });

  it("start the containers with a restart policy that failed without us", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    await pair.one.engine.run("a", "ov_net1");
    await pair.one.stopDriver();
    const container = pair.one.engine.container("a");
    Object.assign(container, {
      isRunning: false,
      restartPolicy: "always",
      error: 'plugin "tulle" not found',
    });
    await pair.one.startDriver();
    await eventually(() => container.isRunning);
  });

  it("start a container again that failed because we could not answer yet", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    await pair.one.engine.run("a", "ov_net1");
    const container = pair.one.engine.container("a");
    pair.one.engine.failRestart("a", "remote: address 10.9.0.7 is held by host two; choose another");
    await pair.one.engine.run("b", "ov_net1");
    expect(container.isRunning).toBe(false);
    pair.one.engine.failRestart("a", `remote: the store is away (${RETRIED})`);
    await eventually(() => container.isRunning);
  });

  it("of the driver forget endpoints whose containers ended meanwhile", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    await pair.one.engine.run("a", "ov_net1");
    await pair.one.stopDriver();
    pair.one.engine.containers.clear();
    await pair.one.startDriver();
    await eventually(() => pair.one.links.present.size === 0);
    const [network] = pair.one.feed.view.networks.values();
    await eventually(() => network && pair.one.given(network.id).length === 0);
    await eventually(() => membersOf(pair.two, "ov_net1").length === 0);
  });

  it("repeat a removal that the store did not learn of", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    pair.lab.isStoreCut = true;
    await pair.one.engine.remove("ov_net1");
    await pair.one.stopDriver();
    pair.lab.isStoreCut = false;
    await pair.one.startDriver();
    await disappears(pair.two, "ov_net1");
    expect(pair.one.networkNames()).toEqual([]);
  });
});
