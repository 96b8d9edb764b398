/** The addresses of the bridge by which podman's containers reach the outside. */

import { expect, it } from "vitest";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { OUTSIDE, outsideAddress, outsideGateway } from "../../../ipam/containers/outside.ts";
import { subnetProblem } from "../../../ipam/named-networks/network-rules.ts";

it.each([
  ["169.254.96.2", "fd66:ffdf:a2ec::2"],
  ["169.254.97.0", "fd66:ffdf:a2ec::100"],
  ["169.254.111.254", "fd66:ffdf:a2ec::ffe"],
])("has %s and %s at one place of their subnets", (ipv4, ipv6) => {
  const address = Address.parse(ipv4);
  expect(`${outsideAddress(address, 4)}`).toBe(ipv4);
  expect(`${outsideAddress(address, 6)}`).toBe(ipv6);
});

it("has the gateway at the first address of each subnet", () => {
  expect([4, 6].map((family) => `${outsideGateway(family as 4 | 6)}`)).toEqual([
    "169.254.96.1",
    "fd66:ffdf:a2ec::1",
  ]);
});

it.each(["169.254.96.0/24", "fd66:ffdf:a2ec::/64", "fd66:ffdf:a2ec::100/120"])(
  "no named network can have %s",
  (subnet) => {
    expect(subnetProblem(Prefix.parse(subnet))).toMatch(/link-local|reach the outside; choose another/);
  },
);

it("leaves its neighbours and wider subnets to named networks", () => {
  for (const subnet of ["fd66:ffdf:a2ec:1::/64", "fd66:ffdf:a2ec::/48"])
    expect(subnetProblem(Prefix.parse(subnet))).toBeNull();
  // What routers do not forward could not be masqueraded.
  expect(OUTSIDE.subnets[6].base.isLinkLocal).toBe(false);
});
