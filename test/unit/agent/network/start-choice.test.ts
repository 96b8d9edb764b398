/** The interfaces at a start of a host in a network of both families that lacks an address of one. */

import { expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import type { HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import type { AttachmentParts } from "../../../../agent/network/attachment.ts";
import { chooseAtStart } from "../../../../agent/network/start-choice.ts";
import { type Mac, parseMac } from "../../../../ipam/addresses/mac.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import { at, host, link, none, on, shortOf, via } from "../../../support/interface-host.ts";
import { entry, nodeId, value } from "../../../support/lease-fixture.ts";

const MAC = parseMac("02:00:00:00:00:02");
const KEY = "10.2.7.0-24&fd00:2:0:7::-64";
const OTHER = "10.2.8.0-24&fd00:2:0:8::-64";

const configOf = (type: string) =>
  parseNetworkConfig(
    `{"Network":"10.2.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:2::/48","Backend":{"Type":"${type}"}}`,
  );

const leaseOf = (n: number) =>
  value(n, { publicAddress: { 4: at("192.168.1.2"), 6: at("fd00:1::2") }, backendData: {} });

interface Given {
  readonly addresses?: readonly string[];
  readonly key?: string;
  readonly n?: number;
  readonly type?: string;
  readonly mac?: Mac | null;
  readonly settings?: Partial<InterfaceSettings>;
}

function choose({ addresses = ["192.168.1.2"], key = KEY, n = 7, type = "vxlan", ...given }: Given) {
  const { mac = MAC, settings = {} } = given;
  const snapshot: HostSnapshot = host({
    links: [link(2, "eth0", { mac: MAC })],
    addresses: addresses.map((address) => on(2, address)),
    defaultRoutes: { 4: [via(2)], 6: [via(2)] },
  });
  const parts = {
    settings: { ...none, ...settings },
    store: null,
    identity: { nodeId: nodeId(7), interfaceMac: mac },
  } as AttachmentParts;
  const listing = { entries: [{ ...entry(key, n), value: leaseOf(n) }], config: null, revision: 1n };
  return chooseAtStart(parts, configOf(type), listing, null, snapshot);
}

it.each([
  ["IPv6", ["192.168.1.2"], "IPv6"],
  ["IPv4", ["fd00:1::2"], "IPv4"],
])("takes the %s address that is missing from this host's lease", (_, addresses, named) => {
  const { chosen, failure } = choose({ addresses });
  expect(shortOf(chosen)).toBe("eth0 192.168.1.2 fd00:1::2");
  expect(failure?.message).toContain(named);
});

it("takes none from it where no address is missing", () => {
  const { chosen, failure } = choose({ addresses: ["192.168.1.9", "fd00:1::9"] });
  expect(shortOf(chosen)).toBe("eth0 192.168.1.9 fd00:1::9");
  expect(failure).toBeNull();
});

it.each<[string, Given]>([
  ["both are missing", { addresses: [] }],
  ["the lease is another host's", { key: OTHER, n: 8 }],
  ["the disk was copied to other hardware", { mac: parseMac("02:00:00:00:00:99") }],
  ["the hardware is not known", { mac: null }],
  ["the backend routes on the interface itself", { type: "host-gw" }],
  [
    "the lease names an address that no interface has",
    { settings: { publicAddress: { 6: at("fd00:9::9") } } },
  ],
])("waits where %s", (_, given) => {
  expect(() => choose(given)).toThrow(/no usable interface/);
});
