/** Networks that a user creates by one engine, on all hosts. */

import { describe, expect, it } from "vitest";
import { listRestorations } from "../../../../ipam/named-networks/restorations.ts";
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

describe("a network created with --ipam-driver tulle", () => {
  it("appears on the other host with subnet, gateway and labels", async () => {
    await pair.one.engine.create("ov_net1", {
      ...OURS,
      labels: { "com.example.team": "a" },
      options: { mtu: "1400" },
    });
    const there = await appears(pair.two, "ov_net1");
    const here = pair.one.engine.network("ov_net1");
    expect(there.pools.map(({ subnet, gateway }) => [subnet, gateway])).toEqual(
      here.pools.map(({ subnet, gateway }) => [subnet, gateway]),
    );
    expect(there.options.labels).toEqual({ "com.example.team": "a" });
    expect(await published(pair.two, "ov_net1")).toMatchObject({ mtuBytes: 1400, isInternal: false });
    expect(pair.one.engine.network("ov_net1").id).toBe(here.id);
  });

  it("gives containers of both hosts addresses of one subnet, and tells names to the other host", async () => {
    await pair.one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await appears(pair.two, "ov_net1");
    expect(await pair.one.engine.run("bbox1", "ov_net1", { aliases: ["web"] })).toBe("10.9.0.2");
    expect(await pair.two.engine.run("bbox2", "ov_net1")).toBe("10.9.0.3");
    const names = await eventually(() => {
      const found = membersOf(pair.two, "ov_net1").find(({ names }) => names.includes("web"));
      return found?.names;
    });
    expect(names.slice(0, 2)).toEqual(["bbox1", "web"]);
    expect(names).toHaveLength(3);
    pair.one.engine.rename("bbox1", "Other");
    await eventually(() => membersOf(pair.two, "ov_net1").some((member) => member.names[0] === "other"));
    await pair.one.engine.removeContainer("Other");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 1);
    expect(pair.one.links.present.size).toBe(0);
  });

  it("knows which container joined it before that has started", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await published(pair.one, "ov_net1");
    let start = (): void => undefined;
    pair.one.engine.starting = new Promise((resolve) => {
      start = resolve;
    });
    try {
      await pair.one.engine.run("bbox1", "ov_net1");
      const { id } = pair.one.engine.container("bbox1");
      await eventually(() => membersOf(pair.one, "ov_net1").some(({ container }) => container === id));
    } finally {
      start();
    }
  });

  it("goes away everywhere when it is removed on any host", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    await pair.two.engine.remove("ov_net1");
    await disappears(pair.one, "ov_net1");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([pair.one.networkNames(), pair.two.networkNames()]).toEqual([[], []]);
    expect(pair.one.feed.view.networks.size).toBe(0);
  });

  it("goes away everywhere when the store learns late that its last container has left", {
    timeout: 30_000,
  }, async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    await pair.one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 1);
    pair.lab.areHostsMute = true;
    await pair.one.engine.removeContainer("bbox1");
    await pair.one.engine.remove("ov_net1");
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    pair.lab.areHostsMute = false;
    // By then both of them may wait for several seconds: who writes the members, and who removes the network.
    await eventually(() => pair.two.networkNames().length === 0, 20_000);
    expect(pair.one.networkNames()).toEqual([]);
    expect(pair.one.driver.status().notices).toEqual([]);
  });

  it("is put back with a word, however long the engine takes to remove it", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    await pair.one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 1);
    let remove = (): void => undefined;
    pair.two.engine.removing = new Promise((resolve) => {
      remove = resolve;
    });
    const removal = pair.two.engine.remove("ov_net1");
    for (const name of ["ov_net2", "ov_net3", "ov_net4"]) {
      await pair.one.engine.create(name, { ipamDriver: "tulle" });
      await appears(pair.two, name);
    }
    remove();
    await removal;
    await eventually(() => pair.two.driver.status().notices[0]?.text.includes("bbox1"));
    await appears(pair.two, "ov_net1");
  });

  it("is put back where it was removed while a container of another host uses it", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    await pair.one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 1);
    const before = pair.two.engine.network("ov_net1").id;
    await pair.two.engine.remove("ov_net1");
    const after = await appears(pair.two, "ov_net1");
    expect(after.id).not.toBe(before);
    const [notice] = pair.two.driver.status().notices;
    expect(notice?.text).toContain("bbox1");
    expect(notice?.text).toContain("host1");
    expect(pair.one.networkNames()).toEqual(["ov_net1"]);
    const restorations = await eventually(async () => {
      const found = await listRestorations(
        pair.lab.connection.network("/test").records,
        AbortSignal.timeout(1000),
      );
      return found.length > 0 && found;
    });
    expect(restorations).toMatchObject([
      { hostName: "host2", usedBy: expect.stringMatching(/^container bbox1 on host host1$/) },
    ]);
  });

  it("goes away although its last container was still leaving another host", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    await pair.one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(pair.two, "ov_net1").length === 1);
    await pair.two.engine.remove("ov_net1");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([pair.two.networkNames(), pair.two.driver.status().notices]).toEqual([[], []]);
    await pair.one.engine.removeContainer("bbox1");
    await disappears(pair.one, "ov_net1");
    expect([pair.two.networkNames(), pair.two.driver.status().notices]).toEqual([[], []]);
  });

  it("stays wanted away while the store does not say what uses it", async () => {
    await pair.one.engine.create("ov_net1", OURS);
    await appears(pair.two, "ov_net1");
    pair.lab.isStoreCut = true;
    await pair.two.engine.remove("ov_net1");
    const problems = () => pair.two.driver.status().problems;
    await eventually(() => problems().length > 0);
    // It stays from one attempt to the next.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(problems()).toEqual([expect.stringMatching(/ov_net1 cannot be removed from the store yet/)]);
    pair.lab.isStoreCut = false;
    await disappears(pair.one, "ov_net1");
    expect(pair.two.driver.status().notices).toEqual([]);
  });

  it("becomes one network when two hosts create it at once", async () => {
    await Promise.all([pair.one.engine.create("ov_net1", OURS), pair.two.engine.create("ov_net1", OURS)]);
    await eventually(() => {
      const subnets = [pair.one, pair.two].map((host) => host.engine.network("ov_net1").pools[0]?.subnet);
      const ids = [pair.one, pair.two].flatMap((host) =>
        host.driver.status().networks.map(({ network }) => network),
      );
      return subnets[0] === subnets[1] && ids.join() === "ov_net1,ov_net1";
    });
    expect(pair.one.feed.view.networks.size).toBe(1);
  });

  it("takes --subnet, --ip-range, --gateway, --internal, -o vni and -o broadcast", async () => {
    await pair.one.engine.create("ov_net1", {
      ...OURS,
      config: [{ Subnet: "10.9.0.0/24", IPRange: "10.9.0.128/25", Gateway: "10.9.0.254" }],
      options: { vni: "5000", broadcast: "on", "com.example.key": "value" },
      isInternal: true,
    });
    const network = await published(pair.one, "ov_net1");
    expect(network).toMatchObject({ vni: 5000, hasBroadcast: true, isInternal: true });
    expect(String(network.pools[4]?.allocation)).toBe("10.9.0.128/25");
    expect(String(network.pools[4]?.gateway)).toBe("10.9.0.254");
    expect((await appears(pair.two, "ov_net1")).options).toMatchObject({ isInternal: true });
  });

  it("has both families with --ipv6", async () => {
    const config = [{ Subnet: "10.9.0.0/24" }, { Subnet: "fd00:9::/64" }];
    await pair.one.engine.create("ov_net1", { ...OURS, config, hasIpv6: true });
    const there = await appears(pair.two, "ov_net1");
    expect(there.pools.map(({ subnet }) => subnet)).toEqual(["10.9.0.0/24", "fd00:9::/64"]);
  });

  it("gives back what a failed creation took", async () => {
    await expect(pair.one.engine.create("bad", { ...OURS, options: { brodcast: "on" } })).rejects.toThrow(
      "-o brodcast is not an option of the driver tulle: it has mtu, vni, broadcast",
    );
    await pair.one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await published(pair.one, "ov_net1");
  });
});

describe("a network created with -d tulle alone", () => {
  it("is replaced by one with our IPAM driver, here and there", async () => {
    const id = await pair.one.engine.create("ov_net1");
    await eventually(() => pair.one.engine.network("ov_net1").options.ipamDriver === "tulle");
    expect(pair.one.engine.networks.has(id)).toBe(false);
    const there = await appears(pair.two, "ov_net1");
    expect(there.pools[0]?.subnet).toBe(pair.one.engine.network("ov_net1").pools[0]?.subnet);
    expect(there.pools[0]?.subnet.startsWith("172.")).toBe(false);
    expect(pair.one.feed.view.networks.size).toBe(1);
  });

  it("keeps the user's subnet", async () => {
    await pair.one.engine.create("ov_net1", { config: [{ Subnet: "10.77.0.0/24" }] });
    await eventually(() => pair.one.engine.network("ov_net1").options.ipamDriver === "tulle");
    expect(pair.one.engine.network("ov_net1").pools[0]?.subnet).toBe("10.77.0.0/24");
  });

  it("rejects a container that comes before the replacement", async () => {
    pair.lab.isStoreCut = true;
    await pair.one.engine.create("ov_net1");
    const startMs = performance.now();
    await expect(pair.one.engine.connectRaw("ov_net1", "172.18.0.2/16")).rejects.toThrow(
      /run the command again/,
    );
    expect(performance.now() - startMs).toBeLessThan(2_000);
    pair.lab.isStoreCut = false;
    await eventually(() => pair.one.engine.network("ov_net1").options.ipamDriver === "tulle", 20_000);
  });
});
