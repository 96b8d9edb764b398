/** A plan with rules in every place, of both families. */

import {
  DEFAULT_CONTAINER_INTERFACES,
  type FirewallInput,
  planFirewall,
} from "../../../backends/firewall/plan.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";

export const INPUT: FirewallInput = {
  networks: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  containers: { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") },
  subnets: { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") },
  masquerade: { isEnabled: true, randomFully: true, excluded: [Prefix.parse("172.16.0.0/12")] },
  forwardRules: true,
  entrances: { 4: ["flannel.1"], 6: ["flannel-v6.1"] },
  tunnels: {
    4: {
      port: 8472,
      parentInterface: "eth0",
      isSoleAddress: true,
      address: Address.parse("192.168.50.9"),
      device: "flannel.1",
      sources: [Address.parse("192.168.50.1"), Address.parse("192.168.50.2")],
    },
    6: {
      port: 8472,
      parentInterface: "eth0",
      isSoleAddress: true,
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
