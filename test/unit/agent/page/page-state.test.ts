/** What the page makes of what it is told. */

import { describe, expect, it } from "vitest";
import { shortName, withoutSharedDomain } from "../../../../agent/page/host-names.ts";
import { measuredLevel, PageState } from "../../../../agent/page/page-state.ts";
import { ageText, countText, namedText, roundTripText, seenText } from "../../../../agent/page/words.ts";
import type { HostData, PageData, PairData } from "../../../../agent/page-server/page-data.ts";

const host = (id: string, more: Partial<HostData> = {}): HostData => ({
  ...{
    id,
    name: id,
    nodeId: null,
    version: null,
    kernel: null,
    addresses: "",
    backend: "vxlan",
    isReservation: false,
    isLeaving: false,
  },
  ...{ path: "tunnel", state: "good", roundTripMs: 0.5, loss: 0 },
  ...more,
});
const pair = (from: string, to: string, cause = "host-down"): PairData => ({
  ...{ from, to, cause, seen: "", remedy: "", since: 0, isOwnFault: cause === "local-firewall" },
});
const data = (more: Partial<PageData>): PageData => ({
  ...{ now: 1, self: "a", hosts: [host("a"), host("b"), host("c")], pairs: [], counted: {}, notes: [] },
  own: { version: "1", isReady: true, summary: "", ranges: [], backend: "", facts: [], problems: [] },
  revisions: { events: 0, networks: null },
  ...more,
});

describe("the page's state", () => {
  it("takes changes, and the whole anew", () => {
    const state = new PageState();
    state.replace(data({}));
    state.take({ now: 2, hosts: [host("d")], gone: ["b"], pairs: [pair("c", "d")] });
    expect(state.ordered.map(({ id }) => id)).toEqual(["a", "c", "d"]);
    expect(state.ordered.map((each) => state.levelOf(each))).toEqual(["band-0", "bad", "bad"]);
    state.take({ now: 3, pairs: [] });
    expect(state.ordered.map((each) => state.levelOf(each))).toEqual(["band-0", "band-0", "band-0"]);
    state.replace(data({ hosts: [host("z")] }));
    expect([...state.hosts.keys()]).toEqual(["z"]);
  });

  it("orders leases as numbers", () => {
    const state = new PageState();
    state.replace(data({ hosts: ["10.2.10.0-24", "10.2.9.0-24", "10.10.0.0-24"].map((id) => host(id)) }));
    expect(state.ordered.map(({ id }) => id)).toEqual(["10.2.9.0-24", "10.2.10.0-24", "10.10.0.0-24"]);
  });

  it("shows a host as bad whose broken paths are only counted", () => {
    const state = new PageState();
    state.replace(data({}));
    const levels = (): readonly string[] => state.ordered.map((each) => state.levelOf(each));
    expect(levels()).toEqual(["band-0", "band-0", "band-0"]);
    state.take({ now: 2, counted: { b: 70 } });
    expect(levels()).toEqual(["band-0", "bad", "band-0"]);
    state.take({ now: 3, counted: {} });
    expect(levels()).toEqual(["band-0", "band-0", "band-0"]);
  });

  it("keeps what an update does not name", () => {
    const state = new PageState();
    state.replace(data({ pairs: [pair("a", "b")], notes: ["n"] }));
    state.take({ now: 9, hosts: [host("c", { roundTripMs: 200 })] });
    expect(state.badHosts).toBe(2);
    expect(state.notes).toEqual(["n"]);
  });
});

describe("a host's level", () => {
  it.each([
    [{ state: null }, "own"],
    [{ state: "bad" as const }, "bad"],
    [{ loss: 0.1 }, "band-0"],
    [{ loss: 0.2 }, "lossy"],
    [{ roundTripMs: null, loss: null, state: "unknown" as const }, "unknown"],
    [{ roundTripMs: 0.99 }, "band-0"],
    [{ roundTripMs: 1 }, "band-1"],
    [{ roundTripMs: 99 }, "band-2"],
    [{ roundTripMs: 5_000 }, "band-3"],
  ])("of %j is %s", (more, level) => {
    expect(measuredLevel(host("a", more))).toBe(level);
  });
});

describe("words", () => {
  it("have units", () => {
    expect([0.25, 1.5, 120, null].map(roundTripText)).toEqual(["250 µs", "1.5 ms", "120 ms", "–"]);
    expect([-5, 59, 61, 7_200, 200_000].map(ageText)).toEqual(["0 s", "59 s", "1 min", "2 h", "2 d"]);
    expect([countText(1, "host"), countText(5_000, "host")]).toEqual(["1 host", "5,000 hosts"]);
  });
});

describe("what a host tells", () => {
  const nameOf = (id: string): string => `node-${id}`;

  it("names both ends, whatever their names are", () => {
    expect(namedText("give this host a route to the peer", "a", "b")).toBe("give a a route to b");
    expect(namedText("this host's card; the peer's", "$&", "$1")).toBe("$&'s card; $1's");
  });

  it("of a path is about the peer, and of itself a sentence of its own", () => {
    const filtered = { ...pair("a", "b", "tunnel-filtered"), seen: "answers, but not through the tunnel" };
    expect(seenText(filtered, nameOf)).toBe("node-a sees that node-b answers, but not through the tunnel.");
    const dropped = { ...pair("a", "b", "local-firewall"), seen: "a rule of this host drops packets" };
    expect(seenText(dropped, nameOf)).toBe("node-a reports: a rule of node-a drops packets.");
  });
});

describe("names without a shared domain", () => {
  it.each([
    [
      ["a.example.com", "b.example.com", "192.0.2.7"],
      ["a", "b", "192.0.2.7"],
    ],
    [
      ["a.example.com", "b.example.org"],
      ["a.example.com", "b.example.org"],
    ],
    [
      ["192.0.2.1", "192.0.2.1"],
      ["192.0.2.1", "192.0.2.1"],
    ],
    [
      ["a", "a.example.com", "b.example.com"],
      ["a", "a.example.com", "b.example.com"],
    ],
    [["a.example.com"], ["a.example.com"]],
    [[], []],
  ])("of %j are %j", (names, short) => {
    expect(withoutSharedDomain(names)).toEqual(short);
  });
});

describe("a short name", () => {
  it.each([
    ["node-7", 10, "node-7"],
    ["node-7.rack-2.example.com", 11, "node-…e.com"],
    ["vm (192.0.2.7)", 8, "vm (….7)"],
    ["node-7", 0, "n…7"],
  ])("of %s in %i letters is %s", (name, letters, short) => {
    expect(shortName(name, letters)).toBe(short);
  });
});
