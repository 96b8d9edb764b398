/** A plan with rules in every place, of both families. */

import { planFirewall } from "../../../backends/firewall/plan.ts";
import { DEFAULT_CONTAINER_INTERFACES, type FirewallInput } from "../../../backends/firewall/plan-input.ts";
import type { FirewallPlan, FirewallPlans } from "../../../backends/firewall/rules.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";

export const INPUT: FirewallInput = {
  networks: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  containers: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  subnets: { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") },
  masquerade: { isEnabled: true, randomFully: true, excluded: [Prefix.parse("172.16.0.0/12")] },
  prefersNft: false,
  forwardRules: true,
  entrances: { 4: ["flannel.1"], 6: ["flannel-v6.1"] },
  tunnels: {
    4: {
      port: 8472,
      parentInterface: "eth0",
      aliases: [],
      address: Address.parse("192.168.50.9"),
      device: "flannel.1",
      sources: [Address.parse("192.168.50.1"), Address.parse("192.168.50.2")],
    },
    6: {
      port: 8472,
      parentInterface: "eth0",
      aliases: [],
      address: Address.parse("fd00:50::9"),
      device: "flannel-v6.1",
      sources: "any",
    },
  },
  openPort: true,
  notrack: true,
  mssClamp: true,
  containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
};

export const PLAN = planFirewall(INPUT);

/** A second network of the host. */
export const BLUE_PLAN = planFirewall({
  ...INPUT,
  networks: { 4: Prefix.parse("10.3.0.0/16"), 6: Prefix.parse("fd00:3::/48") },
  containers: { 4: Prefix.parse("10.3.0.0/16"), 6: Prefix.parse("fd00:3::/48") },
  subnets: { 4: Prefix.parse("10.3.54.0/24"), 6: Prefix.parse("fd00:3:0:54::/64") },
  entrances: { 4: ["flannel.2"], 6: ["flannel-v6.2"] },
  isolated: Object.values(INPUT.networks),
});

/** The plans of a host whose only network is the first one. */
export function only(plan: FirewallPlan): FirewallPlans {
  return new Map([[null, plan]]);
}
