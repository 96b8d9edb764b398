/** Which targets of probes a network's peers are. */

import { expect, it } from "vitest";
import { probeTargets } from "../../../../agent/probes/targets.ts";
import { MixedBackend } from "../../../../backends/mixed.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { OWN, peer, prepareVxlan } from "../../../support/vxlan-fixture.ts";

it("are of the families that this host has a subnet of", () => {
  const lease = peer(9);
  const both = {
    ...lease,
    subnets: { ...lease.subnets, 6: Prefix.parse("fd00:2:0:9::/64") },
    attrs: { ...lease.attrs, publicAddress: { ...lease.attrs.publicAddress, 6: Address.parse("fd31::9") } },
  };
  const familiesFor = (ownSubnets: Parameters<typeof probeTargets>[2]) =>
    probeTargets([both], new MixedBackend(prepareVxlan()), ownSubnets).map(({ family }) => family);
  expect(familiesFor(OWN)).toEqual([4]);
  expect(familiesFor({ ...OWN, 6: Prefix.parse("fd00:2:0:1::/64") })).toEqual([4, 6]);
});
