import { expect, it } from "vitest";
import { chooseTargets } from "../../../agent/container-probes/target-choice.ts";
import { selectLease } from "../../../agent/leases/lease-selector.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../../ipam/leases/lease.ts";
import { TARGET } from "./probes/target-fixture.ts";

const KEY = "10.2.54.0-24&fd00:2:0:54::-64" as LeaseKey;
const SUBNETS = { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") };
const [IPV4, IPV6] = [
  { ...TARGET, peer: KEY },
  {
    ...TARGET,
    ...({ id: `${KEY} IPv6`, peer: KEY, family: 6 } as const),
    ...{ subnet: SUBNETS[6], inner: Address.parse("fd00:2:0:54::") },
  },
] as const;
const LIST = { targets: [IPV4, IPV6], hostNames: { [KEY]: "two" } } as never;

it.each([
  ["10.2.54.0-24&fd00:2:0:54::-64", [IPV4, IPV6]],
  ["two", [IPV4, IPV6]],
  ["192.168.1.242", [IPV4, IPV6]],
  ["10.2.54.0/24", [IPV4]],
  ["10.2.54.9", [IPV4]],
  ["fd00:2:0:54::/64", [IPV6]],
  ["FD00:0002::54:0:0:0:0/64", [IPV6]],
  ["fd00:2:0:54:0::9", [IPV6]],
])("finds the targets of %s", (word, targets) => {
  expect(chooseTargets(LIST, [word])).toEqual(targets);
});

it.each(["fd00:2:0:54::/63", "fd00:2:0:55::/64", "10.2.54.0/25", "three"])("finds none of %s", (word) => {
  expect(() => chooseTargets(LIST, [word])).toThrow(`${word} is not a peer of this host`);
});

it.each(["10.2.54.0/24", "fd00:2:0:54::/64", "FD00:0002::54:0:0:0:0/64", "fd00:2:0:54:0::9", KEY])(
  "finds the lease of %s",
  (text) => {
    const lease = { key: KEY, subnets: SUBNETS, attrs: null } as never;
    expect(selectLease([lease], text)).toBe(lease);
    expect(() => selectLease([lease], "fd00:2:0:54::/63")).toThrow("names no lease");
  },
);
