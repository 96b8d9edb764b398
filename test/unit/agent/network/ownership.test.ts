/** What a network owns where others have things too: the record, the scope made of it, and who owns which route. */

import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FirewallSettings } from "../../../../agent/config/config.ts";
import type { HostLink, HostRoute } from "../../../../agent/host/host-snapshot.ts";
import { goneFrom } from "../../../../agent/network/gone.ts";
import { readRecordedRanges, recordNetworks } from "../../../../agent/network/network-history.ts";
import { Ownership } from "../../../../agent/network/ownership.ts";
import { type ScopeFacts, scopeOf } from "../../../../agent/network/scope.ts";
import { MixedBackend } from "../../../../backends/mixed.ts";
import { RTN_BLACKHOLE, RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../../../backends/state/contract/kind.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import { isVisible, ownerOf } from "../../../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../../../backends/state/kinds/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";
import { hostFacts, OWN, OWN_MAC, prepareVxlan } from "../../../support/vxlan-fixture.ts";

let stateDir: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "tulle-owned-"));
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

const RANGE = Prefix.parse("10.2.0.0/16");
const FORMER = Prefix.parse("10.9.0.0/16");
const firewall = { enableForwarding: false, blackholeRoute: false } as FirewallSettings;

function load(log = recordingLogger(), name: string | null = null): Ownership {
  return new Ownership({ stateDir, name }, log);
}

function factsOf(changes: Partial<ScopeFacts> = {}): ScopeFacts {
  return {
    network: null,
    attachment: {
      backend: new MixedBackend(prepareVxlan({ DirectRouting: true })),
      host: hostFacts(),
      networkConfig: parseNetworkConfig(`{"Network":"${RANGE}"}`),
    },
    subnets: OWN,
    firewall,
    ranges: [RANGE],
    isolated: () => [],
    port: { links: () => [] },
    identity: { deviceMacsOf: () => new Set([OWN_MAC]) },
    ownership: load(),
    ...changes,
  };
}

function direct(device: string, destination = "10.2.4.0/24", protocol = ROUTE_PROTOCOL): RouteObject {
  return {
    kind: "route",
    destination: Prefix.parse(destination),
    device,
    gateway: Address.parse("192.168.50.4"),
    isOnlink: false,
    protocol,
    metric: 0,
    viaNexthop: false,
    source: null,
  };
}

describe("the record", () => {
  it("keeps what it was told, in a file that only root reads, one for each network", async () => {
    await load().add(["flannel.1"], ["eth0"]);
    await load().add(["flannel.1"], ["br0"]);
    await load(undefined, "blue").add(["flannel.2"], []);
    const { devices, interfaces } = load().owned;
    expect([[...devices], [...interfaces]]).toEqual([["flannel.1"], ["eth0", "br0"]]);
    expect([...load(undefined, "blue").owned.devices]).toEqual(["flannel.2"]);
    expect((await stat(join(stateDir, "owned.json"))).mode & 0o777).toBe(0o600);
  });

  it("is written once for what it already holds", async () => {
    const ownership = load();
    await ownership.add(["flannel.1"], ["eth0"]);
    const before = (await stat(join(stateDir, "owned.json"))).ino;
    await ownership.add(["flannel.1"], ["eth0"]);
    expect((await stat(join(stateDir, "owned.json"))).ino).toBe(before);
  });

  it.each(["", "[]", '{"devices":"eth0"}', "\0"])("that reads %j is logged and replaced", async (text) => {
    await writeFile(join(stateDir, "owned.json"), text);
    const log = recordingLogger();
    const ownership = load(log);
    expect(log.lines.map(({ message }) => message)).toContain("record of owned devices is ignored");
    await ownership.add([], ["eth0"]);
    expect(JSON.parse(await readFile(join(stateDir, "owned.json"), "utf8"))).toEqual({
      devices: [],
      interfaces: ["eth0"],
    });
  });

  it("that cannot be written keeps its content in memory and is logged", async () => {
    const log = recordingLogger();
    const ownership = new Ownership({ stateDir: join(stateDir, "absent"), name: null }, log);
    await ownership.add([], ["eth0"]);
    expect([...ownership.owned.interfaces]).toEqual(["eth0"]);
    expect(log.lines.map(({ message }) => message)).toContain("owned devices cannot be recorded");
  });

  it("names the ranges of all networks for cleanup", async () => {
    const log = recordingLogger();
    await recordNetworks({ stateDir, name: null }, [FORMER], log);
    await recordNetworks({ stateDir, name: null }, [RANGE], log);
    await recordNetworks({ stateDir, name: "blue" }, [Prefix.parse("10.7.0.0/16")], log);
    await writeFile(join(stateDir, "network-red.json"), "damaged");
    expect(readRecordedRanges(stateDir).map(String).sort()).toEqual([
      "10.2.0.0/16",
      "10.7.0.0/16",
      "10.9.0.0/16",
    ]);
    expect(readRecordedRanges(join(stateDir, "absent"))).toEqual([]);
  });
});

describe("what a former run recorded", () => {
  const link = (index: number, name: string) => ({ index, name }) as HostLink;
  const route = (outputIndex: number | null, protocol = ROUTE_PROTOCOL, type = RTN_UNICAST) =>
    ({ outputIndex, protocol, type }) as HostRoute;
  const recorded = async () => {
    const text = await readFile(join(stateDir, "owned.json"), "utf8");
    return JSON.parse(text) as { devices: string[]; interfaces: string[] };
  };
  const links = [link(2, "eth0"), link(3, "eth1"), link(7, "flannel.7")];

  beforeEach(async () => {
    await load().add(["flannel.1", "flannel.7", "flannel.8"], ["eth0", "eth1", "eth9"]);
  });

  it("is forgotten when nothing is left of it, and kept while something is or it is used again", async () => {
    const ownership = load();
    await ownership.add(["flannel.1"], ["eth1"]);
    expect(ownership.hasInherited).toBe(true);
    await ownership.forget(goneFrom({ links, routes: [route(2)] }));
    const rest = { devices: ["flannel.1", "flannel.7"], interfaces: ["eth0", "eth1"] };
    expect(await recorded()).toEqual(rest);
    expect([...ownership.owned.interfaces]).toEqual(rest.interfaces);
    expect([...load().owned.devices]).toEqual(rest.devices);
    await ownership.forget(goneFrom({ links: [], routes: [] }));
    expect(await recorded()).toEqual({ devices: ["flannel.1"], interfaces: ["eth1"] });
    expect(ownership.hasInherited).toBe(false);
  });

  it("counts neither routes of others nor such that discard packets", async () => {
    const ownership = load();
    await ownership.forget(
      goneFrom({ links, routes: [route(2, 3), route(null, ROUTE_PROTOCOL, RTN_BLACKHOLE)] }),
    );
    expect((await recorded()).interfaces).toEqual([]);
  });

  it("stays where the kernel does not show by which interface a route of ours leaves", async () => {
    const ownership = load();
    await ownership.forget(goneFrom({ links, routes: [route(null)] }));
    expect((await recorded()).interfaces).toEqual(["eth0", "eth1", "eth9"]);
  });

  it("is not brought back by a write that was under way", async () => {
    const ownership = load();
    await Promise.all([
      ownership.add(["flannel.2"], []),
      ownership.forget(goneFrom({ links: [], routes: [] })),
      ownership.add([], ["br0"]),
    ]);
    expect(await recorded()).toEqual({ devices: ["flannel.2"], interfaces: ["br0"] });
  });

  it("is logged when the file cannot be written", async () => {
    const log = recordingLogger();
    const ownership = load(log);
    await rm(stateDir, { recursive: true });
    await ownership.forget(goneFrom({ links: [], routes: [] }));
    expect(log.lines.map(({ message }) => message)).toContain("owned devices cannot be recorded");
    await mkdir(stateDir);
  });
});

describe("the scope", () => {
  it("owns our direct routes on every recorded interface, and no route of an administrator", async () => {
    await load().add([], ["eth0"]);
    const scope = scopeOf(factsOf({ ownership: load() }));
    expect(ownerOf(direct("under0"), scope)).toBe("ours");
    expect(ownerOf(direct("eth0"), scope)).toBe("ours");
    expect(ownerOf(direct("eth1"), scope)).toBe("foreign");
    for (const protocol of [3, 4, 16]) {
      expect(ownerOf(direct("eth0", "10.2.4.0/24", protocol), scope)).toBe("foreign");
      expect(ownerOf(direct("under0", "10.2.4.0/24", protocol), scope)).toBe("foreign");
    }
    expect(isVisible(direct("eth0", "10.3.4.0/24"), scope)).toBe(false);
  });

  it("owns routes in a former range, until another network has that range", () => {
    const ranges = [RANGE, FORMER];
    const route = direct("under0", "10.9.4.0/24");
    expect(ownerOf(route, scopeOf(factsOf({ ranges })))).toBe("ours");
    const isolated = () => [Prefix.parse("10.9.0.0/20")];
    expect(isVisible(route, scopeOf(factsOf({ ranges, isolated })))).toBe(false);
    expect(isVisible(direct("under0"), scopeOf(factsOf({ ranges, isolated: () => [RANGE] })))).toBe(true);
  });

  it("has the devices of earlier configurations that the identity proves ours", () => {
    const [former] = prepareVxlan({ VNI: 7 }).planBase(OWN) as [LinkObject];
    const links = () => [former, { ...former, name: "flannel.8" }];
    expect([...scopeOf(factsOf({ port: { links } })).devices]).toEqual(["flannel.1", "flannel.7"]);
    const identity = { deviceMacsOf: () => new Set<never>() };
    expect([...scopeOf(factsOf({ port: { links }, identity })).devices]).toEqual(["flannel.1"]);
  });
});
