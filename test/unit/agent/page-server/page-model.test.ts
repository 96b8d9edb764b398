/** What the page is told: hosts, broken paths and changes, also of hostile records. Pure. */

import { describe, expect, it } from "vitest";
import { decodeHealth, encodeHealth } from "../../../../agent/health-records/record.ts";
import type { ShownNetwork } from "../../../../agent/network/shown-network.ts";
import { HostList } from "../../../../agent/page-server/host-list.ts";
import type { PageData } from "../../../../agent/page-server/page-data.ts";
import { PageModel, updateOf } from "../../../../agent/page-server/page-model.ts";
import { PairList } from "../../../../agent/page-server/pair-list.ts";
import type { PathHealth } from "../../../../agent/probes/prober.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import type { HostProfile } from "../../../../ipam/hosts/host-profile.ts";
import type { Lease } from "../../../../ipam/leases/lease.ts";
import { nodeId } from "../../../support/lease-fixture.ts";

const key = (number: number): string => `10.2.${number}.0-24`;
const good: PathHealth = {
  state: "good",
  roundTripMs: 1.234,
  lossShare: 0.004,
  measured: null,
  isAgentQuiet: false,
  cause: null,
};

function lease(number: number, more: Partial<Lease["attrs"]> = {}): Lease {
  return {
    key: key(number),
    subnets: { 4: Prefix.parse(`10.2.${number}.0/24`) },
    attrs: {
      publicAddress: { 4: Address.parse(`192.0.2.${number}`) },
      backendType: "vxlan",
      backendData: {},
      nodeId: nodeId(number),
      ...more,
    },
    revision: 1n,
    createRevision: 1n,
    storeLeaseId: "1",
    isLeaving: false,
  };
}

function networkOf(...peers: readonly Lease[]): ShownNetwork {
  return {
    own: { key: key(1), nodeId: nodeId(1), publicAddresses: ["192.0.2.1"], backend: "vxlan" },
    peers: new Map(peers.map((peer) => [peer.key, peer])),
    profileOf: () => null,
    pathTo: () => "tunnel",
    healthOf: () => good,
  };
}

describe("the page's hosts", () => {
  const named = (network: ShownNetwork, names: Readonly<Record<string, string>>): ShownNetwork => ({
    ...network,
    profileOf: (id): HostProfile | null => {
      const name = id === null ? undefined : names[id];
      return name === undefined ? null : { name, version: "1.2.3", kernel: "6.1.0", backends: [] };
    },
  });

  it("are called by their names, else by their addresses", () => {
    const hosts = new HostList().update(named(networkOf(lease(2), lease(3)), { [nodeId(2)]: "alpha" }));
    expect(hosts.map(({ name }) => name)).toEqual(["192.0.2.1", "alpha", "192.0.2.3"]);
    expect(hosts[1]).toMatchObject({ version: "1.2.3", kernel: "6.1.0" });
  });

  it("with one name are told apart", () => {
    const names = { [nodeId(2)]: "vm", [nodeId(3)]: "vm" };
    const hosts = new HostList().update(named(networkOf(lease(2), lease(3)), names));
    expect(hosts.map(({ name }) => name)).toEqual(["192.0.2.1", "vm (192.0.2.2)", "vm (192.0.2.3)"]);
  });

  it("stay the same objects until something about them changes", () => {
    const list = new HostList();
    const network = networkOf(lease(2), lease(3));
    const before = list.update(network);
    const again = list.update({ ...network, healthOf: () => ({ ...good, roundTripMs: 1.2341 }) });
    expect(again.map((host, index) => host === before[index])).toEqual([true, true, true]);
    const healthOf = (peer: string) => (peer === key(3) ? { ...good, roundTripMs: 5 } : good);
    const after = list.update({ ...network, healthOf });
    expect(after.map((host, index) => host === before[index])).toEqual([true, true, false]);
  });

  it("show no raw text of others", () => {
    const hostile = "<script>alert(1)</script>\u202e\u001b".repeat(50);
    const network = named(networkOf(lease(2, { backendType: hostile })), { [nodeId(2)]: hostile });
    const [, host] = new HostList().update(network);
    expect(host?.name.length).toBeLessThan(100);
    expect(`${host?.name}${host?.backend}`).not.toMatch(/\p{C}/u);
  });
});

describe("the page's broken paths", () => {
  const report = (number: number, ...peers: readonly number[]) => ({
    nodeId: nodeId(number),
    report: decodeHealth(
      encodeHealth(peers.map((peer) => ({ peer: key(peer), cause: "host-down", seen: "is down" }))) ?? "",
    ),
  });
  const update = (network: ShownNetwork, ...reports: readonly ReturnType<typeof report>[]) =>
    new PairList().update({ network, reports, nowSeconds: 100 });
  const ends = ({ pairs }: ReturnType<typeof update>): readonly string[] =>
    pairs.map(({ from, to }) => `${from} ${to}`);

  it("are those of all hosts", () => {
    const found = update(networkOf(lease(2), lease(3)), report(2, 3, 1), report(3, 2));
    expect(ends(found)).toEqual([`${key(2)} ${key(1)}`, `${key(2)} ${key(3)}`, `${key(3)} ${key(2)}`]);
    expect(found.pairs[0]).toMatchObject({ cause: "host-down", since: 100 });
    expect(found.pairs[0]?.remedy).toContain("start the peer");
  });

  it("are not those of hosts without lease, on peers without lease, or on oneself", () => {
    expect(ends(update(networkOf(lease(2)), report(9, 2), report(2, 9), report(2, 2)))).toEqual([]);
  });

  it("of this host are the probes', not its record's", () => {
    expect(ends(update(networkOf(lease(2)), report(1, 2)))).toEqual([]);
  });

  it("have a remedy when a newer version names the cause", () => {
    const newer = report(2, 1);
    const [bad] = newer.report.bad;
    const reports = [
      { ...newer, report: { others: 0, bad: [{ ...bad, peer: key(1), cause: "moon-phase", seen: "" }] } },
    ];
    const { pairs } = new PairList().update({ network: networkOf(lease(2)), reports, nowSeconds: 1 });
    expect(pairs[0]?.remedy).toContain("tulle status");
  });

  it("keep the time when they were first seen", () => {
    const list = new PairList();
    const network = networkOf(lease(2), lease(3));
    list.update({ network, reports: [report(2, 3)], nowSeconds: 100 });
    const { pairs } = list.update({ network, reports: [report(2, 3, 1)], nowSeconds: 160 });
    expect(pairs.map(({ to, since }) => [to, since])).toEqual([
      [key(1), 160],
      [key(3), 100],
    ]);
  });

  it("are bounded when a network is cut in two", () => {
    const numbers = Array.from({ length: 200 }, (_, index) => index + 2);
    const network = networkOf(...numbers.map((number) => lease(number)));
    const reports = numbers.map((number) => report(number, ...numbers.filter((peer) => peer !== number)));
    const { pairs, counted } = new PairList().update({ network, reports, nowSeconds: 1 });
    expect(pairs).toHaveLength(2_000);
    expect(Object.keys(counted).length).toBeGreaterThan(100);
  });
});

describe("an update", () => {
  const data = (more: Partial<PageData>): PageData => ({
    ...{ now: 1, self: key(1), hosts: [], pairs: [], counted: {}, notes: [] },
    own: { version: "1", isReady: true, summary: "", ranges: [], backend: "", facts: [], problems: [] },
    revisions: { events: 0, networks: null },
    ...more,
  });
  const byId = ({ hosts }: PageData) => new Map(hosts.map((host) => [host.id, host]));
  const between = (before: PageData, after: PageData) => updateOf(before, byId(before), after, byId(after));
  const [own, peer, other] = new HostList().update(networkOf(lease(2), lease(3)));
  if (own === undefined || peer === undefined || other === undefined)
    throw new Error("there are three hosts");

  it("is nothing when nothing but the time has changed", () => {
    expect(between(data({}), data({ now: 2, counted: {}, notes: [] }))).toBeNull();
  });

  it("has the hosts that changed, came and left, and whole sections", () => {
    const before = data({ hosts: [own, peer] });
    const changed = { ...own, roundTripMs: 7 };
    const after = data({ now: 5, hosts: [changed, other], notes: ["a note"] });
    expect(between(before, after)).toEqual({
      now: 5,
      notes: ["a note"],
      hosts: [changed, other],
      gone: [peer.id],
    });
  });

  it("of a quiet time tells the time, and the whole state has it too", () => {
    let now = 1;
    const model = new PageModel(() => data({ now }));
    expect(model.all().toString()).toContain('"now":1,');
    now = 60;
    expect(model.refresh()).toBeNull();
    expect(model.sign().toString()).toBe('event: update\ndata: {"now":60}\n\n');
    expect(model.all().toString()).toContain('"now":60,');
  });
});
