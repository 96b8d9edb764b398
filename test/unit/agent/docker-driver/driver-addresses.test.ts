/** Addresses that the driver gives, to its own networks and to those of other network drivers. */

import { beforeEach, describe, expect, it } from "vitest";
import { appears, eventually, membersOf, OURS, useDriverPair } from "../../../support/docker-driver-lab.ts";

const pair = useDriverPair();

describe("addresses", () => {
  beforeEach(async () => {
    await pair.one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await appears(pair.two, "ov_net1");
  });

  it("of --ip are given once", async () => {
    expect(await pair.one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
    await expect(pair.two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("10.9.0.77");
    await expect(pair.one.engine.run("c", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("10.9.0.77");
    expect(pair.one.links.present.size + pair.two.links.present.size).toBe(1);
    await pair.one.engine.removeContainer("a");
    expect(await pair.two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  });

  it("that come too late for the engine are free at once for the same --ip", async () => {
    pair.lab.addresses.delayMs = 2_000;
    await expect(pair.one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("did not finish");
    pair.lab.addresses.delayMs = 0;
    await eventually(() => pair.lab.addresses.holders.size === 0);
    expect(await pair.two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  });

  it("of an ungraceful end are free for the same --ip again", async () => {
    await pair.one.engine.run("a", "ov_net1", { ip: "10.9.0.77" });
    await pair.one.stopDriver();
    await pair.one.engine.kill();
    pair.one.engine.containers.clear();
    await pair.one.engine.start();
    await pair.one.startDriver();
    expect(await pair.one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
    expect(pair.one.links.present.size).toBe(1);
  });

  it("come back when the engine cleans up after it was killed", async () => {
    await pair.one.engine.run("a", "ov_net1");
    await pair.one.engine.kill();
    await pair.one.engine.start();
    await pair.one.engine.cleanUp();
    await eventually(() => membersOf(pair.two, "ov_net1").length === 0);
    const [network] = pair.one.feed.view.networks.values();
    expect(network && pair.one.given(network.id)).toEqual([]);
    expect(pair.one.links.present.size).toBe(0);
  });

  it("go with the MAC that is made of them, or with the given one", async () => {
    await pair.one.engine.run("a", "ov_net1");
    await pair.one.engine.run("b", "ov_net1", { mac: "02:00:00:00:00:07" });
    await eventually(() => membersOf(pair.one, "ov_net1").length === 2);
    expect(membersOf(pair.one, "ov_net1").map(({ mac }) => mac)).toEqual([
      "02:42:0a:09:00:02",
      "02:00:00:00:00:07",
    ]);
    await eventually(() => membersOf(pair.two, "ov_net1").length === 2);
    await expect(pair.two.engine.run("c", "ov_net1", { mac: "02:00:00:00:00:07" })).rejects.toThrow(
      "MAC address 02:00:00:00:00:07 belongs to b",
    );
  });
});

describe("addresses for another network driver", () => {
  const LAN = { driver: "macvlan", ipamDriver: "tulle" };

  it("come from one pool for all hosts, found by its subnet", async () => {
    const config = [{ Subnet: "192.168.50.0/24", IPRange: "192.168.50.128/25", Gateway: "192.168.50.1" }];
    await pair.one.engine.create("lan1", { ...LAN, config, aux: ["192.168.50.129"] });
    await eventually(() => pair.one.feed.view.networks.size === 1);
    await eventually(() => pair.two.feed.view.networks.size === 1);
    await pair.two.engine.create("lan1", { ...LAN, config, aux: ["192.168.50.129"] });
    const addresses = [
      await pair.one.engine.run("a", "lan1"),
      await pair.two.engine.run("b", "lan1"),
      await pair.one.engine.run("c", "lan1"),
    ];
    expect(new Set(addresses).size).toBe(3);
    expect([pair.one.networkNames(), pair.two.networkNames()]).toEqual([["lan1"], ["lan1"]]);
    await pair.two.engine.remove("lan1").catch(() => undefined);
    expect(pair.one.feed.view.networks.size).toBe(1);
  });

  it("are asked for with another gateway in vain", async () => {
    await pair.one.engine.create("lan1", {
      ...LAN,
      config: [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.1" }],
    });
    await eventually(() => pair.two.feed.view.networks.size === 1);
    await expect(
      pair.two.engine.create("lan1", {
        ...LAN,
        config: [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.9" }],
      }),
    ).rejects.toThrow("give --gateway 192.168.50.1");
  });
});
