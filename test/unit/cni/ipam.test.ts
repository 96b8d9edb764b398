/** Address management against a real folder. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { allocate, release } from "../../../cni-plugin/ipam/allocate.ts";
import { reclaimEarlierBoots } from "../../../cni-plugin/ipam/boot.ts";
import { parseIpamConfig } from "../../../cni-plugin/ipam/ranges.ts";
import { Reservations } from "../../../cni-plugin/ipam/reservations.ts";
import type { JsonObject } from "../../../ipam/json.ts";

let dir = "";
let store: Reservations;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "tulle-cni-ipam-"));
  mkdirSync(path.join(dir, "net"));
  store = new Reservations(dir, "net");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const of = (containerId: string) => ({ containerId, interfaceName: "eth0" });
const configOf = (ipam: JsonObject, rest: JsonObject = {}, args = "") =>
  parseIpamConfig({ ipam, ...rest }, args);
const SMALL = { ranges: [[{ subnet: "10.1.2.0/29" }]] };
const give = (config: ReturnType<typeof configOf>, id: string) =>
  allocate(config, store, of(id)).map(({ address }) => `${address.address}/${address.length}`);

describe("allocation", () => {
  it("writes host-local's files", () => {
    expect(give(configOf(SMALL), "a")).toEqual(["10.1.2.2/29"]);
    expect(readdirSync(path.join(dir, "net")).sort()).toEqual(["10.1.2.2", "last_reserved_ip.0"]);
    expect(readFileSync(path.join(dir, "net/10.1.2.2"), "utf8")).toBe("a\r\neth0");
    expect(readFileSync(path.join(dir, "net/last_reserved_ip.0"), "utf8")).toBe("10.1.2.2");
  });

  it("goes round and comes back to freed addresses last", () => {
    const config = configOf(SMALL);
    expect(give(config, "a")).toEqual(["10.1.2.2/29"]);
    release(store, of("a"));
    expect(["b", "c", "d", "e"].flatMap((id) => give(config, id))).toEqual([
      "10.1.2.3/29",
      "10.1.2.4/29",
      "10.1.2.5/29",
      "10.1.2.6/29",
    ]);
    expect(give(config, "f")).toEqual(["10.1.2.2/29"]);
  });

  it("says with numbers that nothing is left", () => {
    const config = configOf({ ...SMALL, exclude: ["10.1.2.4/30"] });
    give(config, "a");
    give(config, "b");
    expect(() => give(config, "c")).toThrow(
      expect.objectContaining({
        cniCode: 101,
        message: expect.stringContaining("of 6 addresses 2 are given"),
      }),
    );
  });

  it("gives one address per range set, or none", () => {
    const config = configOf({ ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "fd00:1::/126" }]] });
    expect(give(config, "a")).toEqual(["10.1.2.2/24", "fd00:1::2/126"]);
    give(config, "b");
    expect(() => give(config, "c")).toThrow(expect.objectContaining({ cniCode: 101 }));
    expect(store.list().filter(({ containerId }) => containerId === "c")).toEqual([]);
  });

  it("refuses two requested addresses of one range set instead of forgetting one", () => {
    const config = configOf(SMALL, { runtimeConfig: { ips: ["10.1.2.3", "10.1.2.4"] } });
    expect(() => give(config, "a")).toThrow(/10\.1\.2\.4 cannot be given as well/);
    expect(store.list()).toEqual([]);
  });

  it("refuses a second address for one attachment", () => {
    give(configOf(SMALL), "a");
    expect(() => give(configOf(SMALL), "a")).toThrow(/already given/);
  });

  it.each([
    ["CNI_ARGS", {}, "IgnoreUnknown=1;IP=10.1.2.5"],
    ["args", { args: { cni: { ips: ["10.1.2.5"] } } }, ""],
    ["runtimeConfig", { runtimeConfig: { ips: ["10.1.2.5/29"] } }, ""],
  ])("gives the address that %s asks for, once", (_, rest, args) => {
    const config = configOf(SMALL, rest, args);
    expect(give(config, "a")).toEqual(["10.1.2.5/29"]);
    expect(() => give(config, "b")).toThrow(/in use/);
  });

  it.each(["10.1.2.1", "10.9.9.9"])("refuses the requested address %s", (address) => {
    expect(() => give(configOf(SMALL, {}, `IP=${address}`), "a")).toThrow(/requested address/);
  });
});

describe("earlier boots", () => {
  const reclaim = (bootId: string, alive: readonly string[] = []) =>
    reclaimEarlierBoots(store, bootId, ({ containerId }) => alive.includes(containerId)).length;

  it("keeps everything when the folder has no mark yet, and marks it", () => {
    give(configOf(SMALL), "a");
    expect(reclaim("boot-1")).toBe(0);
    expect(store.bootId()).toBe("boot-1");
  });

  it("frees once what an earlier boot left, but for what is alive", () => {
    give(configOf(SMALL), "a");
    give(configOf(SMALL), "b");
    reclaim("boot-1");
    expect(reclaim("boot-1")).toBe(0);
    expect(reclaim("boot-2", ["b"])).toBe(1);
    expect(store.list().map(({ containerId }) => containerId)).toEqual(["b"]);
    expect(reclaim("boot-2")).toBe(0);
  });
});

describe("release", () => {
  it("is a success for what is absent", () => {
    expect(release(store, of("nobody"))).toEqual([]);
  });

  it("keeps other interfaces of the container and understands files without an interface", () => {
    writeFileSync(path.join(dir, "net/10.1.2.3"), "a\r\neth1");
    writeFileSync(path.join(dir, "net/10.1.2.4"), "a");
    expect(release(store, of("a")).map(String)).toEqual(["10.1.2.4"]);
  });
});

it.each<[string, JsonObject]>([
  ["no ranges", {}],
  ["a range set that is no list", { ranges: [{ subnet: "10.1.2.0/24" }] }],
  ["an empty range set", { ranges: [[]] }],
  ["a subnet that is none", { ranges: [[{ subnet: "10.1.2" }]] }],
  ["a subnet of another type", { ranges: [[{ subnet: 7 }]] }],
  ["a tiny subnet", { ranges: [[{ subnet: "10.1.2.0/31" }]] }],
  ["a foreign gateway", { ranges: [[{ subnet: "10.1.2.0/24", gateway: "10.1.3.1" }]] }],
  [
    "a reversed range",
    { ranges: [[{ subnet: "10.1.2.0/24", rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" }]] },
  ],
  ["overlapping sets", { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "10.1.0.0/16" }]] }],
  ["mixed families", { ranges: [[{ subnet: "10.1.2.0/24" }, { subnet: "fd00::/64" }]] }],
  ["routes of another type", { ...SMALL, routes: "x" }],
  ["a route that is none", { ...SMALL, routes: [{ dst: "x" }] }],
  ["a dataDir of another type", { ...SMALL, dataDir: 5 }],
  ["an exclusion that is none", { ...SMALL, exclude: ["x"] }],
])("refuses %s", (_, ipam) => {
  expect(() => configOf(ipam)).toThrow(expect.objectContaining({ name: "CniError" }));
});
