/** The network configuration with flannel's defaults and limits, and one clear error for each mistake. */

import { describe, expect, it } from "vitest";
import { entriesOf } from "../../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";

/** `network length min max` of each family. */
function planOf(config: object): string[] {
  const { families } = parseNetworkConfig(JSON.stringify(config));
  return [...entriesOf(families)].map(
    ([, { network, subnetLength, subnetMin, subnetMax }]) =>
      `${network} ${subnetLength} ${subnetMin} ${subnetMax}`,
  );
}

describe("defaults", () => {
  it.each([
    [{ Network: "10.3.0.0/16" }, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"],
    [{ Network: "10.3.7.9/16" }, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"],
    [{ Network: "10.3.0.0/22" }, "10.3.0.0/22 24 10.3.1.0 10.3.3.0"],
    [{ Network: "10.3.0.0/23" }, "10.3.0.0/23 25 10.3.0.128 10.3.1.128"],
    [{ Network: "10.3.0.0/28" }, "10.3.0.0/28 30 10.3.0.4 10.3.0.12"],
    [{ Network: "10.0.0.0/8", SubnetLen: 20 }, "10.0.0.0/8 20 10.0.16.0 10.255.240.0"],
    [{ Network: "10.3.0.0/16", SubnetLen: 0 }, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"],
    [
      { Network: "10.3.0.0/16", SubnetMin: "10.3.5.0", SubnetMax: "10.3.8.0" },
      "10.3.0.0/16 24 10.3.5.0 10.3.8.0",
    ],
    [{ Network: "10.3.0.0/16", SubnetMin: "", SubnetMax: null }, "10.3.0.0/16 24 10.3.1.0 10.3.255.0"],
    [{ Network: "10.3.0.0/16", SubnetMin: "10.3.0.0" }, "10.3.0.0/16 24 10.3.0.0 10.3.255.0"],
  ])("%j", (config, plan) => {
    expect(planOf(config)).toEqual([plan]);
  });

  it.each([
    [{ IPv6Network: "fc00::/48" }, "fc00::/48 64 fc00:0:0:1:: fc00:0:0:ffff::"],
    [{ IPv6Network: "fc00::/62" }, "fc00::/62 64 fc00:0:0:1:: fc00:0:0:3::"],
    [{ IPv6Network: "fc00::/63" }, "fc00::/63 65 fc00::8000:0:0:0 fc00:0:0:1:8000::"],
    [{ IPv6Network: "fc00::/124" }, "fc00::/124 126 fc00::4 fc00::c"],
    [
      { IPv6Network: "fc00::/48", IPv6SubnetLen: 56, IPv6SubnetMin: "fc00:0:0:200::" },
      "fc00::/48 56 fc00:0:0:200:: fc00:0:0:ff00::",
    ],
  ])("for IPv6 %j", (config, plan) => {
    expect(planOf({ EnableIPv4: false, EnableIPv6: true, ...config })).toEqual([plan]);
    expect(planOf({ Network: "10.3.0.0/16", EnableIPv6: true, ...config })[1]).toBe(plan);
  });

  it("ignore a family unless it is enabled", () => {
    expect(planOf({ Network: "10.3.0.0/16", IPv6Network: "nonsense" })).toHaveLength(1);
    const six = { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fc00::/48" };
    expect(planOf({ ...six, Network: "nonsense", SubnetLen: 24 })).toHaveLength(1);
  });

  it("make vxlan of a missing Backend, and remember that it was missing", () => {
    for (const config of [{ Network: "10.3.0.0/16" }, { Network: "10.3.0.0/16", Backend: null }]) {
      expect(parseNetworkConfig(JSON.stringify(config)).backend).toEqual({
        type: "vxlan",
        isExplicit: false,
        options: {},
      });
    }
  });
});

describe("reading as Go does", () => {
  it("takes keys in any case, the last of several, and ignores what it does not know", () => {
    const text =
      '{"network":"10.9.0.0/16","NETWORK":"10.3.0.0/16","enableipv4":true,"Surprise":[],"backend":{"type":"VXLAN","VNI":7}}';
    const config = parseNetworkConfig(text);
    expect(config.families[4]?.network.toString()).toBe("10.3.0.0/16");
    expect(config.backend).toEqual({ type: "vxlan", isExplicit: true, options: { VNI: 7 } });
    expect(config.text).toBe(text);
  });

  it("reads EnableNFTables", () => {
    expect(parseNetworkConfig('{"Network":"10.3.0.0/16","enableNFTables":true}').enableNftables).toBe(true);
    expect(parseNetworkConfig('{"Network":"10.3.0.0/16"}').enableNftables).toBe(false);
  });
});

describe("a mistake gets one error with the key, the value and the remedy", () => {
  const base = { Network: "10.3.0.0/16" };
  it.each<[object | string, RegExp]>([
    ["", /network config "" is not JSON .*write an object such as/],
    ["{", /is not JSON/],
    ['\ufeff{"Network":"10.2.0.0/16"}', /begins with a byte order mark: write it without/],
    ["[]", /is not a JSON object/],
    ['"10.3.0.0/16"', /is not a JSON object/],
    [{}, /Network is missing; write an IPv4 network/],
    [{ Network: "" }, /Network is ""; write an IPv4 network/],
    [{ Network: 10 }, /Network is 10; write a text in quotes/],
    [{ Network: "10.3.0.0" }, /Network is "10\.3\.0\.0"; write/],
    [{ Network: "10.3.0.0/33" }, /Network is "10\.3\.0\.0\/33"/],
    [{ Network: "fc00::/48" }, /Network is "fc00::\/48"; write an IPv4 network/],
    [{ Network: "0.0.0.0/0" }, /Network is "0\.0\.0\.0\/0"; choose a range without 0\.0\.0\.0\/8/],
    [{ Network: "127.0.0.0/16" }, /Network is "127\.0\.0\.0\/16"; choose/],
    [{ Network: "224.0.0.0/8" }, /Network is "224\.0\.0\.0\/8"; choose/],
    [{ ...base, EnableIPv6: true, IPv6Network: "fe80::/64" }, /IPv6Network is "fe80::\/64"; choose/],
    [{ Network: "10.3.0.0/29" }, /Network is "10\.3\.0\.0\/29"; use a length of 28 or less/],
    [{ ...base, SubnetLen: 31 }, /SubnetLen is 31; write a whole number from 18 to 30/],
    [{ ...base, SubnetLen: 17 }, /SubnetLen is 17; write a whole number from 18/],
    [{ ...base, SubnetLen: "24" }, /SubnetLen is "24"; write a whole number/],
    [{ ...base, SubnetLen: 24.5 }, /SubnetLen is 24\.5/],
    [{ ...base, SubnetLen: -1 }, /SubnetLen is -1/],
    [
      { ...base, SubnetMin: "10.4.1.0" },
      /SubnetMin is "10\.4\.1\.0"; write the first address of a \/24 inside/,
    ],
    [{ ...base, SubnetMin: "10.3.1.7" }, /SubnetMin is "10\.3\.1\.7"; write the first address/],
    [{ ...base, SubnetMax: "10.3.1" }, /SubnetMax is "10\.3\.1"/],
    [{ ...base, SubnetMax: "fc00::" }, /SubnetMax is "fc00::"/],
    [
      { ...base, SubnetMin: "10.3.9.0", SubnetMax: "10.3.8.0" },
      /SubnetMin is "10\.3\.9\.0"; write an address not above SubnetMax 10\.3\.8\.0/,
    ],
    [{ ...base, EnableIPv4: "yes" }, /EnableIPv4 is "yes"; write true or false/],
    [{ ...base, EnableIPv4: false }, /EnableIPv4 is false; enable EnableIPv4 or EnableIPv6/],
    [
      { ...base, EnableIPv4: false, EnableIPv6: false },
      /EnableIPv4 is false; enable EnableIPv4 or EnableIPv6/,
    ],
    [
      { EnableIPv4: false, EnableIPv6: true, IPv6Network: "fc00::/48", SubnetLen: 64 },
      /: SubnetLen is 64; EnableIPv4 is false: write IPv6SubnetLen/,
    ],
    [{ ...base, EnableIPv6: true, IPv6Network: "fc00::/48", SubnetLen: 64 }, /: SubnetLen is 64; .*18 to 30/],
    [{ ...base, EnableIPv6: true, IPv6Network: "fc00::/48", IPv6SubnetLen: 24 }, /IPv6SubnetLen is 24; .*50/],
    [
      { ...base, EnableIPv6: true, IPv6Network: "10.4.0.0/16" },
      /IPv6Network is "10\.4\.0\.0\/16"; write an IPv6 network/,
    ],
    [{ ...base, EnableNFTables: 1 }, /EnableNFTables is 1; write true or false/],
    [{ ...base, EnableIPv6: true }, /IPv6Network is missing; write an IPv6 network/],
    [{ ...base, EnableIPv6: true, IPv6Network: "fc00::/125" }, /IPv6Network .*124 or less/],
    [{ ...base, EnableIPv6: true, IPv6Network: "fc00::/48", IPv6SubnetLen: 127 }, /IPv6SubnetLen is 127/],
    [
      { ...base, EnableIPv6: true, IPv6Network: "fc00::/48", IPv6SubnetMax: "fc01::" },
      /IPv6SubnetMax is "fc01::"/,
    ],
    [{ ...base, Backend: "vxlan" }, /Backend is "vxlan"; write an object such as \{"Type":"vxlan"\}/],
    [{ ...base, Backend: {} }, /Backend\.Type is ""; name a backend/],
    [{ ...base, Backend: { Type: 5 } }, /Backend\.Type is 5; write a text/],
  ])("%j", (config, message) => {
    const text = typeof config === "string" ? config : JSON.stringify(config);
    expect(() => parseNetworkConfig(text)).toThrow(
      expect.objectContaining({ code: "TULLE_CONFIG", message: expect.stringMatching(message) }),
    );
  });

  it("and shows a long value in part", () => {
    expect(() => parseNetworkConfig(JSON.stringify({ Network: "x".repeat(5000) }))).toThrow(/^.{0,400}$/);
  });
});
