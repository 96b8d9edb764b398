/** What the firewall of a host in a VXLAN network of IPv4 is planned from, in tests. */

import {
  DEFAULT_CONTAINER_INTERFACES,
  type FirewallInput,
  type TunnelInput,
} from "../../backends/firewall/plan-input.ts";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";

const TUNNEL: TunnelInput = {
  port: 8472,
  parentInterface: "eth0",
  aliases: [],
  address: Address.parse("192.168.50.1"),
  device: "flannel.1",
  sources: "any",
};

/** A VXLAN tunnel on eth0. */
export function tunnelInput(changes: Partial<TunnelInput> = {}): TunnelInput {
  return { ...TUNNEL, ...changes };
}

/** Masquerades, and leaves tunnel packets untracked. */
export const FIREWALL_INPUT: FirewallInput = {
  networks: { 4: Prefix.parse("10.2.0.0/16") },
  containers: { 4: Prefix.parse("10.2.0.0/16") },
  subnets: { 4: Prefix.parse("10.2.54.0/24") },
  masquerade: { isEnabled: true, randomFully: true, excluded: [] },
  prefersNft: false,
  forwardRules: true,
  entrances: { 4: ["flannel.1"] },
  tunnels: { 4: tunnelInput() },
  openPort: false,
  notrack: true,
  mssClamp: false,
  containerInterfaces: DEFAULT_CONTAINER_INTERFACES,
};
