/** Lease keys and values, byte for byte as flannel has them. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import {
  decodeEntry,
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseKey,
  parseLeaseValue,
  readStrayKey,
} from "../../../ipam/leases/lease-codec.ts";
import { entry, prefix } from "../../support/lease-fixture.ts";

const FLANNEL_VALUE =
  '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}';
const DUAL_VALUE =
  '{"PublicIP":"192.168.64.3","PublicIPv6":"2001:db8::3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:45"}}';
const UDP_VALUE = '{"PublicIP":"192.168.64.3","PublicIPv6":null}';

describe("a lease value", () => {
  it.each([FLANNEL_VALUE, DUAL_VALUE, UDP_VALUE, '{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::3"}'])(
    "is written back as flannel wrote it: %s",
    (text) => {
      expect(formatLeaseValue(parseLeaseValue(text))).toBe(text);
    },
  );

  it("carries our node id behind what flannel knows", () => {
    const lease = { ...parseLeaseValue(FLANNEL_VALUE), nodeId: "ab".repeat(16) };
    const text = formatLeaseValue(lease);
    expect(text).toBe(`${FLANNEL_VALUE.slice(0, -1)},"NodeID":"${"ab".repeat(16)}"}`);
    expect(parseLeaseValue(text)).toEqual(lease);
  });

  it("carries further backends, with the fields of the lease itself", () => {
    const otherBackends = [
      { backendType: "vxlan", backendData: { 4: { VNI: 1 } } },
      { backendType: "", backendData: {} },
    ];
    const lease = { ...parseLeaseValue(FLANNEL_VALUE), otherBackends };
    const text = formatLeaseValue(lease);
    expect(text).toBe(
      `${FLANNEL_VALUE.slice(0, -1)},"OtherBackends":[{"BackendType":"vxlan","BackendData":{"VNI":1}},{}]}`,
    );
    expect(parseLeaseValue(text)).toEqual(lease);
    expect(parseLeaseValue('{"OtherBackends":[]}')).not.toHaveProperty("otherBackends");
    const many = JSON.stringify({ OtherBackends: Array.from({ length: 1000 }, () => ({})) });
    expect(parseLeaseValue(many).otherBackends).toHaveLength(4);
  });

  it("is read as Go reads it: any case, nulls, unknown keys", () => {
    const lease = parseLeaseValue(
      '{"publicip":"192.168.64.3","PUBLICIPV6":null,"backendtype":null,"Extra":{"a":[1]}}',
    );
    expect(lease).toEqual({
      publicAddress: { 4: Address.parse("192.168.64.3") },
      backendType: "",
      backendData: {},
      nodeId: null,
    });
  });

  it.each([
    ["", 'the value "" is not JSON'],
    ['{"PublicIP"', 'the value "{"PublicIP"" is not JSON'],
    ['\ufeff{"PublicIP":"192.168.64.3"}', "begins with a byte order mark"],
    ["null", "not a JSON object"],
    ["[1]", "not a JSON object"],
    ['{"PublicIP":5}', "PublicIP is 5, not text"],
    ['{"PublicIP":"192.168.64"}', 'PublicIP is "192.168.64", not an IPv4 address'],
    ['{"PublicIP":"2001:db8::3"}', "not an IPv4 address"],
    ['{"PublicIPv6":"192.168.64.3"}', "not an IPv6 address"],
    ['{"BackendType":{}}', "BackendType is {}, not text"],
    ['{"NodeID":7}', "NodeID is 7, not text"],
    ['{"OtherBackends":{}}', "OtherBackends is {}, not a list of objects"],
    ['{"OtherBackends":["vxlan"]}', 'OtherBackends is ["vxlan"], not a list of objects'],
    ['{"OtherBackends":[{"BackendType":5}]}', "BackendType is 5, not text"],
  ])("%s is a CodecError: %s", (text, message) => {
    expect(() => parseLeaseValue(text)).toThrow(
      expect.objectContaining({ code: "TULLE_CODEC", message: expect.stringContaining(message) }),
    );
  });

  it("is shown in part only when it is long", () => {
    const text = `{"PublicIP":"${"x".repeat(10_000)}"}`;
    expect(() => parseLeaseValue(text)).toThrow(/x{60}…/);
  });
});

describe("a lease key", () => {
  it.each([
    "10.2.54.0-24",
    "10.12.13.0-24&fd00:12:13::-56",
    "0.0.0.0-0&fd00:12:13::-56",
    "255.255.255.255-32",
  ])("%s is read and written", (key) => {
    expect(formatLeaseKey(parseLeaseKey(key))).toBe(key);
  });

  it("of IPv6 only has whatever length flanneld's configuration gives the absent IPv4 subnet", () => {
    const subnets = { 6: prefix("fd00:12:13::/56") };
    expect(parseLeaseKey("0.0.0.0-24&fd00:12:13::-56")).toEqual(subnets);
    expect(readStrayKey("x/0.0.0.0-24&fd00:12:13::-56")).toEqual(subnets);
    expect(readStrayKey("x/0.0.0.0-24")).toBeNull();
  });

  it.each([
    "0.0.0.0-0",
    "fd00:12:13::-56",
    "fd00:12:13::-56&10.12.13.0-24",
    "10",
    "10.12.13.0",
    "10.12.13-24",
    "10.12.13.300-24",
    "10.12.13.0-24hi",
    "hi10.12.13.0-24",
    "10.12.13.0-33",
    "10.12.13.7-24",
    "010.12.13.0-24",
    "10.12.13.0-024",
    "&2001::-56",
    "10.12.13.0-24&",
    "10.12.13.0-24&2001::",
    "10.12.13.0-24&FD00::-56",
    "10.12.13.0-24&fd00:0::-56",
    "10.12.13.0-24&fd00::1-56",
    "10.12.13.0-24&fd00::-129",
    "",
  ])("%s is none of ours", (key) => {
    expect(() => parseLeaseKey(key)).toThrow(expect.objectContaining({ code: "TULLE_CODEC" }));
  });

  it.each([
    ["10.2.54.0-24", "10.2.54.0/24"],
    ["backup/10.2.54.0-24", "10.2.54.0/24"],
    ["old10.2.54.7-24", "10.2.54.0/24"],
    ["10.2.54.0-24.bak", null],
    ["999.2.54.0-24", null],
    ["nonsense", null],
  ])("%s names %s for flanneld, which looks at the end only", (key, expected) => {
    expect(readStrayKey(key)?.[4]?.toString() ?? null).toBe(expected);
  });

  it("names both families", () => {
    expect(readStrayKey("x/10.2.54.0-24&fd00:2:54::-64")).toEqual({
      4: prefix("10.2.54.0/24"),
      6: prefix("fd00:2:54::/64"),
    });
  });
});

describe("an entry", () => {
  it("decodes with what the store knows", () => {
    const stored = entry("10.2.5.0-24", 5, { revision: 9n, storeLeaseId: null });
    expect(decodeEntry(stored)).toMatchObject({ key: stored.key, revision: 9n, storeLeaseId: null });
  });

  it("that is damaged is named by its key", () => {
    expect(() => decodeEntry(entry("10.2.5.0-24", 5, { value: "{" }))).toThrow(
      /lease 10\.2\.5\.0-24: .*restart its host's agent or delete the key/,
    );
  });
});
