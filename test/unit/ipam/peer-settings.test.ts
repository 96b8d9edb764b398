/** Which rules follow from a host's settings and the network configuration. peer-table.test.ts has what they decide. */

import { describe, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../../ipam/addresses/local-prefixes.ts";
import {
  commonRules,
  isLocalOnly,
  localRules,
  type PeerSettings,
} from "../../../ipam/leases/peer-settings.ts";
import { network, prefix, subnets } from "../../support/lease-fixture.ts";

const settings = (overrides: Partial<PeerSettings> = {}): PeerSettings => ({
  networks: [prefix("10.2.0.0/16")],
  ownAddresses: { 4: Address.parse("192.168.50.1") },
  ownIdentities: [],
  local: [],
  rejectPeer: () => null,
  rejectLocally: () => null,
  identitiesOf: () => [],
  ...overrides,
});
const ranges = (...texts: string[]) =>
  commonRules(settings({ networks: texts.map(prefix) }), CONFIG).networks;
const CONFIG = network('{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:3::/48"}');

describe("the ranges of the common rules", () => {
  it("are those of the settings, and of the configuration in the same families", () => {
    expect(ranges("10.2.0.0/16")).toEqual({ 4: [prefix("10.2.0.0/16"), prefix("10.3.0.0/16")] });
    expect(ranges("10.2.0.0/16", "fd00:2::/48")[6]).toEqual([prefix("fd00:2::/48"), prefix("fd00:3::/48")]);
  });

  it("name a range once", () => {
    expect(ranges("10.3.0.0/16")).toEqual({ 4: [prefix("10.3.0.0/16")] });
  });

  it("do not limit either family without a range in the settings", () => {
    expect(ranges()).toEqual({ 4: [], 6: [] });
  });

  it("are those of the settings while there is no configuration", () => {
    expect(commonRules(settings(), null).networks).toEqual({ 4: [prefix("10.2.0.0/16")] });
  });
});

describe("the local rules", () => {
  const route = (text: string): LocalPrefix => ({
    prefix: prefix(text),
    kind: "route",
    origin: "eth0",
    gateway: null,
    mayBeContainers: false,
  });

  it("have the subnets of the host's own lease", () => {
    expect(localRules(settings(), null, "10.2.1.0-24").ownSubnets).toEqual({ 4: prefix("10.2.1.0/24") });
    expect(localRules(settings(), null, null).ownSubnets).toEqual({});
  });

  it("leave out a local prefix that holds a whole range, be it of the settings or of the configuration", () => {
    const found = (local: string, key: string) =>
      localRules(settings({ local: [route(local)] }), CONFIG, null).prefixes.overlapping(subnets(key));
    expect(found("10.2.8.0/21", "10.2.9.0-24")).toMatchObject({ origin: "eth0" });
    expect(found("10.2.0.0/15", "10.2.9.0-24")).toBeNull();
    expect(found("10.3.0.0/16", "10.3.9.0-24")).toBeNull();
  });
});

describe("a change of settings", () => {
  it("is local when no other host has the setting", () => {
    expect(isLocalOnly({ ownIdentities: [], local: [] })).toBe(true);
    expect(isLocalOnly({ local: [], networks: [] })).toBe(false);
    expect(isLocalOnly({ rejectPeer: () => null })).toBe(false);
  });
});
