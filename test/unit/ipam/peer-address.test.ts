/** Which addresses other hosts can send packets to. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { publicAddressProblem } from "../../../ipam/addresses/peer-address.ts";

describe("a public address", () => {
  it.each([
    ["0.0.0.0", "this host"],
    ["0.255.255.255", "this host"],
    ["127.0.0.1", "loopback"],
    ["127.255.0.9", "loopback"],
    ["169.254.0.1", "link-local"],
    ["224.0.0.1", "multicast"],
    ["239.255.255.255", "multicast"],
    ["240.0.0.1", "reserved"],
    ["255.255.255.254", "reserved"],
    ["255.255.255.255", "broadcast"],
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["::192.168.1.2", "IPv4-compatible"],
    ["::ffff:192.168.1.2", "IPv4-mapped"],
    ["fe80::1", "link-local"],
    ["febf::1", "link-local"],
    ["ff02::1", "multicast"],
  ])("cannot be %s", (text, word) => {
    expect(publicAddressProblem(Address.parse(text))).toContain(word);
  });

  it.each([
    "1.0.0.1",
    "10.0.0.1",
    "100.64.0.1",
    "192.168.1.2",
    "223.255.255.255",
    "2001:db8::1",
    "fd00::1",
    "fec0::1",
  ])("can be %s", (text) => {
    expect(publicAddressProblem(Address.parse(text))).toBeNull();
  });
});
