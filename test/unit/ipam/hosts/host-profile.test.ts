/** What a host says of itself: what is accepted, and what is not. */

import { describe, expect, it } from "vitest";
import {
  decodeProfile,
  encodeProfile,
  parseProfileKey,
  profileOf,
} from "../../../../ipam/hosts/host-profile.ts";
import { ProfileTable } from "../../../../ipam/hosts/profile-table.ts";
import { nodeId } from "../../../support/lease-fixture.ts";

const GOOD = { name: "node-7.example.org", version: "0.1.0", kernel: "6.1.0-28-amd64", backends: ["vxlan"] };

const entryOf = (key: string, value: string) => ({
  key,
  value,
  revision: 1n,
  createRevision: 1n,
  storeLeaseId: null,
});

describe("a host's profile", () => {
  it("comes back as it was written, with the backends in one order", () => {
    const profile = { ...GOOD, backends: ["vxlan", "alloc"] };
    expect(decodeProfile(encodeProfile(profile))).toEqual({ ...GOOD, backends: ["alloc", "vxlan"] });
    expect(encodeProfile(profile)).toBe(encodeProfile({ ...profile, backends: ["alloc", "vxlan"] }));
  });

  it.each([
    ["a script", "<script>alert(1)</script>"],
    ["control characters", "a\u001b[2J"],
    ["a line break", "a\nb"],
    ["too long a name", "n".repeat(254)],
    ["no text", 7],
    ["nothing", undefined],
  ])("with %s as its name is rejected", (_, name) => {
    expect(() => decodeProfile(JSON.stringify({ ...GOOD, name }))).toThrow(/^name is /);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[]"],
    ["a huge one", JSON.stringify({ ...GOOD, more: "x".repeat(5_000) })],
    ["a list of backends that is none", JSON.stringify({ ...GOOD, backends: "vxlan" })],
    ["a backend with a blank", JSON.stringify({ ...GOOD, backends: ["a b"] })],
    ["an inherited field", '{"__proto__": {"name": "a"}, "version": "1", "kernel": "1"}'],
  ])("that is %s is rejected", (_, text) => {
    expect(() => decodeProfile(text)).toThrow(expect.objectContaining({ code: "TULLE_CODEC" }));
  });

  it.each([
    ["node 7", "node-7"],
    ["-näme-", "n-me"],
    ["", "unknown"],
    ["\u0000", "unknown"],
  ])("of a host that is called %j has the name %s", (said, name) => {
    const profile = profileOf({ ...GOOD, name: said, version: "1 2", backends: ["udp", "a b"] });
    expect(profile).toEqual({ ...GOOD, name, version: "unknown", backends: ["udp"] });
    expect(decodeProfile(encodeProfile(profile))).toEqual(profile);
  });

  it("is found by the node id alone", () => {
    expect(parseProfileKey(`hosts/${nodeId(3)}`)).toBe(nodeId(3));
    for (const key of ["hosts/", `hosts/${nodeId(3)}/x`, `named/${nodeId(3)}`, "hosts/node7"])
      expect(parseProfileKey(key)).toBeNull();
  });
});

describe("the table of profiles", () => {
  it("shows damaged records as one sentence, and forgets it when they are mended or gone", () => {
    const table = new ProfileTable();
    const [bad, stray, good] = [`hosts/${nodeId(1)}`, "hosts/\u001b[2J", `hosts/${nodeId(2)}`];
    const entries = [entryOf(bad, "{"), entryOf(stray, "{}"), entryOf(good, encodeProfile(GOOD))];
    table.apply({ type: "list", revision: 1n, entries });
    expect(table.problem).toMatch(
      /^host record hosts\/0+1 is ignored: it is not JSON \(and 1 more like it\)/,
    );
    expect(table.profileOf(nodeId(1))).toBeNull();
    expect(table.profileOf(nodeId(2))).toEqual(GOOD);
    expect(table.profileOf(null)).toBeNull();
    const mended = { type: "put", entry: entryOf(bad, encodeProfile(GOOD)) } as const;
    table.apply({ type: "changes", revision: 2n, changes: [mended] });
    expect(table.profileOf(nodeId(1))).toEqual(GOOD);
    expect(table.problem).not.toContain("\u001b");
    table.apply({
      type: "changes",
      revision: 3n,
      changes: [
        { type: "delete", key: stray, revision: 3n },
        { type: "delete", key: good, revision: 3n },
      ],
    });
    expect(table.problem).toBeNull();
    expect(table.profileOf(nodeId(2))).toBeNull();
  });
});
