/** The driver behind its real socket, driven by a fake engine in dockerd's order of calls. */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RETRIED } from "../../../../agent/docker-driver/plugin-server.ts";
import { listRestorations } from "../../../../ipam/named-networks/restorations.ts";
import { type DriverHost, DriverLab, eventually } from "../../../support/docker-driver-lab.ts";
import { callPlugin, post } from "../../../support/fake-engine.ts";

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

const appears = (host: DriverHost, name: string) =>
  eventually(() => [...host.engine.networks.values()].find((network) => network.name === name));
const disappears = (host: DriverHost, name: string) =>
  eventually(() => ![...host.engine.networks.values()].some((network) => network.name === name));
const published = (host: DriverHost, name: string) =>
  eventually(() => [...host.feed.view.networks.values()].find((network) => network.name === name));
const membersOf = (host: DriverHost, name: string) => {
  const network = [...host.feed.view.networks.values()].find((each) => each.name === name);
  const hosts = network === undefined ? undefined : host.feed.view.members.get(network.id);
  return [...(hosts?.values() ?? [])].flatMap(({ members }) => members);
};

describe("a network created with --ipam-driver tulle", () => {
  it("appears on the other host with subnet, gateway and labels", async () => {
    await one.engine.create("ov_net1", {
      ...OURS,
      labels: { "com.example.team": "a" },
      options: { mtu: "1400" },
    });
    const there = await appears(two, "ov_net1");
    const here = one.engine.network("ov_net1");
    expect(there.pools.map(({ subnet, gateway }) => [subnet, gateway])).toEqual(
      here.pools.map(({ subnet, gateway }) => [subnet, gateway]),
    );
    expect(there.options.labels).toEqual({ "com.example.team": "a" });
    expect(await published(two, "ov_net1")).toMatchObject({ mtuBytes: 1400, isInternal: false });
    expect(one.engine.network("ov_net1").id).toBe(here.id);
  });

  it("gives containers of both hosts addresses of one subnet, and tells names to the other host", async () => {
    await one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await appears(two, "ov_net1");
    expect(await one.engine.run("bbox1", "ov_net1", { aliases: ["web"] })).toBe("10.9.0.2");
    expect(await two.engine.run("bbox2", "ov_net1")).toBe("10.9.0.3");
    const names = await eventually(() => {
      const found = membersOf(two, "ov_net1").find(({ names }) => names.includes("web"));
      return found?.names;
    });
    expect(names.slice(0, 2)).toEqual(["bbox1", "web"]);
    expect(names).toHaveLength(3);
    one.engine.rename("bbox1", "Other");
    await eventually(() => membersOf(two, "ov_net1").some((member) => member.names[0] === "other"));
    await one.engine.removeContainer("Other");
    await eventually(() => membersOf(two, "ov_net1").length === 1);
    expect(one.links.present.size).toBe(0);
  });

  it("knows which container joined it before that has started", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    let start = (): void => undefined;
    one.engine.starting = new Promise((resolve) => {
      start = resolve;
    });
    try {
      await one.engine.run("bbox1", "ov_net1");
      const { id } = one.engine.container("bbox1");
      await eventually(() => membersOf(one, "ov_net1").some(({ container }) => container === id));
    } finally {
      start();
    }
  });

  it("goes away everywhere when it is removed on any host", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    await two.engine.remove("ov_net1");
    await disappears(one, "ov_net1");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([one.networkNames(), two.networkNames()]).toEqual([[], []]);
    expect(one.feed.view.networks.size).toBe(0);
  });

  it("is put back with a word, however long the engine takes to remove it", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    await one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(two, "ov_net1").length === 1);
    let remove = (): void => undefined;
    two.engine.removing = new Promise((resolve) => {
      remove = resolve;
    });
    const removal = two.engine.remove("ov_net1");
    for (const name of ["ov_net2", "ov_net3", "ov_net4"]) {
      await one.engine.create(name, { ipamDriver: "tulle" });
      await appears(two, name);
    }
    remove();
    await removal;
    await eventually(() => two.driver.status().notices[0]?.text.includes("bbox1"));
    await appears(two, "ov_net1");
  });

  it("is put back where it was removed while a container of another host uses it", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    await one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(two, "ov_net1").length === 1);
    const before = two.engine.network("ov_net1").id;
    await two.engine.remove("ov_net1");
    const after = await appears(two, "ov_net1");
    expect(after.id).not.toBe(before);
    const [notice] = two.driver.status().notices;
    expect(notice?.text).toContain("bbox1");
    expect(notice?.text).toContain("host1");
    expect(one.networkNames()).toEqual(["ov_net1"]);
    const restorations = await eventually(async () => {
      const found = await listRestorations(
        lab.connection.network("/test").records,
        AbortSignal.timeout(1000),
      );
      return found.length > 0 && found;
    });
    expect(restorations).toMatchObject([
      { hostName: "host2", usedBy: expect.stringMatching(/^container bbox1 on host host1$/) },
    ]);
  });

  it("goes away although its last container was still leaving another host", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    await one.engine.run("bbox1", "ov_net1");
    await eventually(() => membersOf(two, "ov_net1").length === 1);
    await two.engine.remove("ov_net1");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([two.networkNames(), two.driver.status().notices]).toEqual([[], []]);
    await one.engine.removeContainer("bbox1");
    await disappears(one, "ov_net1");
    expect([two.networkNames(), two.driver.status().notices]).toEqual([[], []]);
  });

  it("stays wanted away while the store does not say what uses it", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    lab.isStoreCut = true;
    await two.engine.remove("ov_net1");
    const problems = () => two.driver.status().problems;
    await eventually(() => problems().length > 0);
    // It stays from one attempt to the next.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(problems()).toEqual([expect.stringMatching(/ov_net1 cannot be removed from the store yet/)]);
    lab.isStoreCut = false;
    await disappears(one, "ov_net1");
    expect(two.driver.status().notices).toEqual([]);
  });

  it("becomes one network when two hosts create it at once", async () => {
    await Promise.all([one.engine.create("ov_net1", OURS), two.engine.create("ov_net1", OURS)]);
    await eventually(() => {
      const subnets = [one, two].map((host) => host.engine.network("ov_net1").pools[0]?.subnet);
      const ids = [one, two].flatMap((host) => host.driver.status().networks.map(({ network }) => network));
      return subnets[0] === subnets[1] && ids.join() === "ov_net1,ov_net1";
    });
    expect(one.feed.view.networks.size).toBe(1);
  });

  it("takes --subnet, --ip-range, --gateway, --internal, -o vni and -o broadcast", async () => {
    await one.engine.create("ov_net1", {
      ...OURS,
      config: [{ Subnet: "10.9.0.0/24", IPRange: "10.9.0.128/25", Gateway: "10.9.0.254" }],
      options: { vni: "5000", broadcast: "on", "com.example.key": "value" },
      isInternal: true,
    });
    const network = await published(one, "ov_net1");
    expect(network).toMatchObject({ vni: 5000, hasBroadcast: true, isInternal: true });
    expect(String(network.pools[4]?.allocation)).toBe("10.9.0.128/25");
    expect(String(network.pools[4]?.gateway)).toBe("10.9.0.254");
    expect((await appears(two, "ov_net1")).options).toMatchObject({ isInternal: true });
  });

  it("has both families with --ipv6", async () => {
    const config = [{ Subnet: "10.9.0.0/24" }, { Subnet: "fd00:9::/64" }];
    await one.engine.create("ov_net1", { ...OURS, config, hasIpv6: true });
    const there = await appears(two, "ov_net1");
    expect(there.pools.map(({ subnet }) => subnet)).toEqual(["10.9.0.0/24", "fd00:9::/64"]);
  });

  it("gives back what a failed creation took", async () => {
    await expect(one.engine.create("bad", { ...OURS, options: { brodcast: "on" } })).rejects.toThrow(
      "-o brodcast is not an option of the driver tulle: it has mtu, vni, broadcast",
    );
    await one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await published(one, "ov_net1");
  });
});

describe("a network created with -d tulle alone", () => {
  it("is replaced by one with our IPAM driver, here and there", async () => {
    const id = await one.engine.create("ov_net1");
    await eventually(() => one.engine.network("ov_net1").options.ipamDriver === "tulle");
    expect(one.engine.networks.has(id)).toBe(false);
    const there = await appears(two, "ov_net1");
    expect(there.pools[0]?.subnet).toBe(one.engine.network("ov_net1").pools[0]?.subnet);
    expect(there.pools[0]?.subnet.startsWith("172.")).toBe(false);
    expect(one.feed.view.networks.size).toBe(1);
  });

  it("keeps the user's subnet", async () => {
    await one.engine.create("ov_net1", { config: [{ Subnet: "10.77.0.0/24" }] });
    await eventually(() => one.engine.network("ov_net1").options.ipamDriver === "tulle");
    expect(one.engine.network("ov_net1").pools[0]?.subnet).toBe("10.77.0.0/24");
  });

  it("rejects a container that comes before the replacement", async () => {
    lab.isStoreCut = true;
    await one.engine.create("ov_net1");
    const startMs = performance.now();
    await expect(one.engine.connectRaw("ov_net1", "172.18.0.2/16")).rejects.toThrow(/run the command again/);
    expect(performance.now() - startMs).toBeLessThan(2_000);
    lab.isStoreCut = false;
    await eventually(() => one.engine.network("ov_net1").options.ipamDriver === "tulle", 20_000);
  });
});

describe("addresses", () => {
  beforeEach(async () => {
    await one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/24" }] });
    await appears(two, "ov_net1");
  });

  it("of --ip are given once", async () => {
    expect(await one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
    await expect(two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("10.9.0.77");
    await expect(one.engine.run("c", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("10.9.0.77");
    expect(one.links.present.size + two.links.present.size).toBe(1);
    await one.engine.removeContainer("a");
    expect(await two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  });

  it("that come too late for the engine are free at once for the same --ip", async () => {
    lab.addresses.delayMs = 2_000;
    await expect(one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).rejects.toThrow("did not finish");
    lab.addresses.delayMs = 0;
    await eventually(() => lab.addresses.holders.size === 0);
    expect(await two.engine.run("b", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
  });

  it("of an ungraceful end are free for the same --ip again", async () => {
    await one.engine.run("a", "ov_net1", { ip: "10.9.0.77" });
    await one.stopDriver();
    await one.engine.kill();
    one.engine.containers.clear();
    await one.engine.start();
    await one.startDriver();
    expect(await one.engine.run("a", "ov_net1", { ip: "10.9.0.77" })).toBe("10.9.0.77");
    expect(one.links.present.size).toBe(1);
  });

  it("come back when the engine cleans up after it was killed", async () => {
    await one.engine.run("a", "ov_net1");
    await one.engine.kill();
    await one.engine.start();
    await one.engine.cleanUp();
    await eventually(() => membersOf(two, "ov_net1").length === 0);
    const [network] = one.feed.view.networks.values();
    expect(network && one.given(network.id)).toEqual([]);
    expect(one.links.present.size).toBe(0);
  });

  it("go with the MAC that is made of them, or with the given one", async () => {
    await one.engine.run("a", "ov_net1");
    await one.engine.run("b", "ov_net1", { mac: "02:00:00:00:00:07" });
    await eventually(() => membersOf(one, "ov_net1").length === 2);
    expect(membersOf(one, "ov_net1").map(({ mac }) => mac)).toEqual([
      "02:42:0a:09:00:02",
      "02:00:00:00:00:07",
    ]);
    await eventually(() => membersOf(two, "ov_net1").length === 2);
    await expect(two.engine.run("c", "ov_net1", { mac: "02:00:00:00:00:07" })).rejects.toThrow(
      "MAC address 02:00:00:00:00:07 belongs to b",
    );
  });
});

describe("restarts", () => {
  it("of the driver keep endpoints, and containers go on without a call", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    const address = await one.engine.run("a", "ov_net1");
    await one.stopDriver();
    expect(existsSync(one.pluginSocket)).toBe(false);
    await one.startDriver();
    await eventually(() =>
      membersOf(two, "ov_net1").some(({ addresses }) => String(addresses[4]) === address),
    );
    await one.engine.disconnect("a", "ov_net1");
    await eventually(() => membersOf(two, "ov_net1").length === 0);
  });

  it("of the driver with damaged files find networks and endpoints again", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    await one.stopDriver();
    for (const name of ["docker-networks.json", "docker-endpoints.json"])
      writeFileSync(join(one.folder, name), '{"version":1,"networks":[{');
    await one.startDriver();
    await eventually(() => one.driver.status().networks[0]?.network === "ov_net1");
    expect(one.log.some(({ message }) => message.includes("damaged"))).toBe(true);
    expect(await one.engine.run("a", "ov_net1")).toMatch(/\.2$/);
  });

  it("start the containers with a restart policy that failed without us", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    await one.engine.run("a", "ov_net1");
    await one.stopDriver();
    const container = one.engine.container("a");
    Object.assign(container, {
      isRunning: false,
      restartPolicy: "always",
      error: 'plugin "tulle" not found',
    });
    await one.startDriver();
    await eventually(() => container.isRunning);
  });

  it("start a container again that failed because we could not answer yet", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    await one.engine.run("a", "ov_net1");
    const container = one.engine.container("a");
    one.engine.failRestart("a", "remote: address 10.9.0.7 is held by host two; choose another");
    await one.engine.run("b", "ov_net1");
    expect(container.isRunning).toBe(false);
    one.engine.failRestart("a", `remote: the store is away (${RETRIED})`);
    await eventually(() => container.isRunning);
  });

  it("of the driver forget endpoints whose containers ended meanwhile", async () => {
    await one.engine.create("ov_net1", OURS);
    await published(one, "ov_net1");
    await one.engine.run("a", "ov_net1");
    await one.stopDriver();
    one.engine.containers.clear();
    await one.startDriver();
    await eventually(() => one.links.present.size === 0);
    const [network] = one.feed.view.networks.values();
    await eventually(() => network && one.given(network.id).length === 0);
    await eventually(() => membersOf(two, "ov_net1").length === 0);
  });

  it("repeat a removal that the store did not learn of", async () => {
    await one.engine.create("ov_net1", OURS);
    await appears(two, "ov_net1");
    lab.isStoreCut = true;
    await one.engine.remove("ov_net1");
    await one.stopDriver();
    lab.isStoreCut = false;
    await one.startDriver();
    await disappears(two, "ov_net1");
    expect(one.networkNames()).toEqual([]);
  });
});

describe("addresses for another network driver", () => {
  const LAN = { driver: "macvlan", ipamDriver: "tulle" };

  it("come from one pool for all hosts, found by its subnet", async () => {
    const config = [{ Subnet: "192.168.50.0/24", IPRange: "192.168.50.128/25", Gateway: "192.168.50.1" }];
    await one.engine.create("lan1", { ...LAN, config, aux: ["192.168.50.129"] });
    await eventually(() => one.feed.view.networks.size === 1);
    await eventually(() => two.feed.view.networks.size === 1);
    await two.engine.create("lan1", { ...LAN, config, aux: ["192.168.50.129"] });
    const addresses = [
      await one.engine.run("a", "lan1"),
      await two.engine.run("b", "lan1"),
      await one.engine.run("c", "lan1"),
    ];
    expect(new Set(addresses).size).toBe(3);
    expect([one.networkNames(), two.networkNames()]).toEqual([["lan1"], ["lan1"]]);
    await two.engine.remove("lan1").catch(() => undefined);
    expect(one.feed.view.networks.size).toBe(1);
  });

  it("are asked for with another gateway in vain", async () => {
    await one.engine.create("lan1", {
      ...LAN,
      config: [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.1" }],
    });
    await eventually(() => two.feed.view.networks.size === 1);
    await expect(
      two.engine.create("lan1", { ...LAN, config: [{ Subnet: "192.168.50.0/24", Gateway: "192.168.50.9" }] }),
    ).rejects.toThrow("give --gateway 192.168.50.1");
  });
});

describe("bad requests", () => {
  it.each([
    ["NetworkDriver.CreateNetwork", "{", "the request is not JSON"],
    ["NetworkDriver.CreateNetwork", "[]", "not an object"],
    ["NetworkDriver.CreateNetwork", "{}", "the network has no subnet"],
    [
      "NetworkDriver.CreateNetwork",
      '{"NetworkID":"a/b","IPv4Data":[{"Pool":"10.9.0.0/24"}]}',
      "NetworkID is",
    ],
    ["NetworkDriver.CreateNetwork", '{"NetworkID":"a","IPv4Data":[{"Pool":"ten"}]}', "IPv4Data[0].Pool is"],
    ["NetworkDriver.CreateEndpoint", "{}", "no address"],
    ["NetworkDriver.Join", '{"NetworkID":"a","EndpointID":"b"}', "endpoint b is unknown"],
    ["NetworkDriver.EndpointOperInfo", '{"NetworkID":"a","EndpointID":"b"}', "endpoint b is unknown"],
    ["IpamDriver.RequestPool", '{"SubPool":"10.9.0.0/25"}', "give --subnet with --ip-range"],
    ["IpamDriver.RequestPool", '{"Pool":"10.9.0.0/24","SubPool":"10.8.0.0/25"}', "is not inside"],
    ["IpamDriver.RequestPool", '{"Options":{"x":"y"}}', "--ipam-opt x"],
    ["IpamDriver.RequestPool", '{"Pool":7}', "Pool is"],
    ["IpamDriver.RequestAddress", '{"PoolID":"x"}', "is not a pool of this driver"],
    ["IpamDriver.RequestAddress", `{"PoolID":"tulle/${"0".repeat(32)}/4"}`, "is not in the store"],
  ])("%s %s", async (method, body, reason) => {
    const { status, text } = await post(one.pluginSocket, `/${method}`, body);
    const answer = JSON.parse(text);
    expect(status).toBe(200);
    expect(answer.Err).toContain(reason);
    expect(answer.Error).toBe(answer.Err);
    expect(answer.Err).not.toContain("\n");
  });

  it.each(["/NetworkDriver.Nothing", "/NetworkDriver.AllocateNetwork", "/", "/toString"])(
    "404 for %s",
    async (path) => {
      expect((await post(one.pluginSocket, path, "{}")).status).toBe(404);
    },
  );

  it.each(["Leave", "DeleteEndpoint"])("%s of an unknown endpoint succeeds", async (method) => {
    const ids = { NetworkID: "a", EndpointID: "b" };
    expect(await callPlugin(one.pluginSocket, `NetworkDriver.${method}`, ids)).toEqual({});
  });

  it("a body over the limit is answered and not kept", async () => {
    const { text } = await post(one.pluginSocket, "/NetworkDriver.Join", Buffer.alloc(5 << 20, 0x20));
    expect(JSON.parse(text).Err).toContain("more than 4194304 bytes");
  });

  it("1,000 requests at once leave nothing behind", async () => {
    await one.engine.create("ov_net1", { ...OURS, config: [{ Subnet: "10.9.0.0/16" }] });
    await published(one, "ov_net1");
    const network = one.engine.network("ov_net1");
    const endpoints = Array.from({ length: 1_000 }, (_, index) => ({
      ids: { NetworkID: network.id, EndpointID: `e${index}` },
      Interface: { Address: `10.9.${1 + (index >> 8)}.${index & 255}/16` },
    }));
    const all = (method: string, count = endpoints.length) =>
      Promise.all(
        endpoints
          .slice(0, count)
          .map(({ ids, Interface }) =>
            callPlugin(one.pluginSocket, `NetworkDriver.${method}`, { ...ids, Interface }),
          ),
      );
    await all("CreateEndpoint");
    await Promise.all([all("CreateEndpoint"), all("Join", 200)]);
    await all("Join", 200);
    expect(one.links.present.size).toBe(200);
    await all("Leave", 200);
    await Promise.all([all("DeleteEndpoint"), all("Leave", 200)]);
    expect(one.links.present.size).toBe(0);
    expect(one.driver.status().networks[0]?.containers).toBe(0);
    await eventually(() => membersOf(one, "ov_net1").length === 0);
  }, 60_000);
});

describe("the plugin socket", () => {
  it("is replaced when nothing listens on it", async () => {
    await one.stopDriver();
    writeFileSync(one.pluginSocket, "");
    await one.startDriver();
    expect(await callPlugin(one.pluginSocket, "Plugin.Activate", {})).toEqual({
      Implements: ["NetworkDriver", "IpamDriver"],
    });
    expect(await callPlugin(one.pluginSocket, "NetworkDriver.GetCapabilities", {})).toEqual({
      Scope: "local",
      ConnectivityScope: "global",
    });
  });

  it("is not taken from another daemon", async () => {
    const other = await lab.addHost();
    await other.stopDriver();
    Object.assign(other, { pluginSocket: one.pluginSocket });
    await expect(other.startDriver()).rejects.toThrow("another process serves");
  });
});
