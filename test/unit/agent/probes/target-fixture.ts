/** A target of probes, as a peer of a VXLAN network has it. */

import type { ProbeTarget } from "../../../../agent/probes/probe.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../../../ipam/leases/lease.ts";

export const TARGET: ProbeTarget = {
  id: "10.2.54.0-24 IPv4",
  peer: "10.2.54.0-24" as LeaseKey,
  family: 4,
  path: "tunnel",
  subnet: Prefix.parse("10.2.54.0/24"),
  inner: Address.parse("10.2.54.0"),
  isInnerCertain: true,
  sendsProbes: false,
  outer: Address.parse("192.168.1.242"),
  mtuBytes: 1450,
  tunnel: "UDP port 8472",
  tunnelKind: { port: 8472, format: "vxlan" },
};
