/** A forwarded packet, for tests of what firewalls do with it. */

import type { Packet } from "../../agent/explain/packet.ts";
import { Address } from "../../ipam/addresses/ip.ts";

export const PACKET: Packet = {
  family: 4,
  source: Address.parse("10.2.1.5"),
  destination: Address.parse("10.2.3.7"),
  protocol: "tcp",
  destinationPort: 443,
  inputInterface: "cni0",
  outputInterface: "flannel.1",
  isToHost: false,
  mark: 0,
  isTracked: true,
};
export const PACKET6: Packet = {
  ...PACKET,
  family: 6,
  source: Address.parse("fd00:2:1::5"),
  destination: Address.parse("fd00:2:3::7"),
};
