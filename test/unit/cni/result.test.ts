/** Results in every version of the specification. */

import { describe, expect, it } from "vitest";
import { formatResult, parseResult } from "../../../cni-plugin/protocol/result.ts";

const RESULT = {
  cniVersion: "1.1.0",
  interfaces: [
    { name: "cni0", mac: "02:00:00:00:00:01" },
    { name: "eth0", sandbox: "/run/netns/a", mtu: 1450 },
  ],
  ips: [
    { interface: 1, address: "10.5.72.7/24", gateway: "10.5.72.1" },
    { interface: 1, address: "fd00::7/64", gateway: "fd00::1" },
  ],
  routes: [{ dst: "10.5.0.0/16" }, { dst: "::/0", gw: "fd00::1", mtu: 1400 }],
  dns: { nameservers: ["10.5.0.10"] },
};

describe("a result", () => {
  it("survives 1.1.0 unchanged", () => {
    expect(formatResult(parseResult(RESULT, "1.1.0"), "1.1.0")).toEqual(RESULT);
  });

  it("takes null, and addresses that are empty text, for absent", () => {
    const [first, second] = RESULT.ips;
    const ips = [{ ...first, gateway: "" }, second];
    const routes = [{ dst: "10.5.0.0/16", gw: "", mtu: null, table: null }, RESULT.routes[1]];
    const [{ gateway: _, ...rest }] = [{ gateway: "", ...first }];
    expect(formatResult(parseResult({ ...RESULT, ips, routes }, "1.1.0"), "1.1.0")).toEqual({
      ...RESULT,
      ips: [rest, second],
    });
  });

  it("loses the details that 1.0.0 does not know", () => {
    const { interfaces, routes, ...rest } = formatResult(parseResult(RESULT, "1.1.0"), "1.0.0");
    expect(rest).toEqual({ cniVersion: "1.0.0", ips: RESULT.ips, dns: RESULT.dns });
    expect(interfaces).toEqual([RESULT.interfaces[0], { name: "eth0", sandbox: "/run/netns/a" }]);
    expect(routes).toEqual([{ dst: "10.5.0.0/16" }, { dst: "::/0", gw: "fd00::1" }]);
  });

  it.each(["0.3.0", "0.3.1", "0.4.0"] as const)("names families in %s", (version) => {
    const formatted = formatResult(parseResult(RESULT, "1.1.0"), version);
    expect(formatted).toMatchObject({ cniVersion: version, ips: [{ version: "4" }, { version: "6" }] });
    expect(parseResult(formatted, "1.1.0").ips).toEqual(parseResult(RESULT, "1.1.0").ips);
  });

  it.each(["0.1.0", "0.2.0"] as const)("has one address per family in %s", (version) => {
    const formatted = formatResult(parseResult(RESULT, "1.1.0"), version);
    expect(formatted).toEqual({
      cniVersion: version,
      ip4: { ip: "10.5.72.7/24", gateway: "10.5.72.1", routes: [{ dst: "10.5.0.0/16" }] },
      ip6: { ip: "fd00::7/64", gateway: "fd00::1", routes: [{ dst: "::/0", gw: "fd00::1" }] },
      dns: RESULT.dns,
    });
    expect(parseResult(formatted, "1.1.0").routes).toHaveLength(2);
  });

  it("without an address has no old form", () => {
    const empty = { interfaces: [], ips: [], routes: [], dns: {} };
    expect(() => formatResult(empty, "0.2.0")).toThrow(expect.objectContaining({ cniCode: 1 }));
  });
});

it.each([
  [null, 6],
  [[], 6],
  [{ cniVersion: "7.0.0" }, 1],
  [{ cniVersion: "1.0.0", ips: 3 }, 6],
  [{ cniVersion: "1.0.0", ips: [{ address: "10.0.0.1" }] }, 6],
  [{ cniVersion: "1.0.0", interfaces: [{}] }, 6],
  [{ cniVersion: "1.0.0", routes: [{ dst: 5 }] }, 6],
])("refuses the result %j", (value, cniCode) => {
  expect(() => parseResult(value, "1.1.0")).toThrow(expect.objectContaining({ cniCode }));
});
