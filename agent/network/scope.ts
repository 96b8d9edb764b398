/** Which kernel objects are this network's, including those that an earlier configuration or a crash left behind. */

import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { interfacesOf } from "../../backends/peers.ts";
import { isRecordedDevice } from "../../backends/registry.ts";
import type { Scope } from "../../backends/state/contract/kind.ts";
import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallSettings } from "../config/config.ts";
import type { Identity } from "../host/identity.ts";
import type { Attachment } from "./attachment.ts";
import { hostObjects } from "./host-objects.ts";
import type { Ownership } from "./ownership.ts";

export interface ScopeFacts {
  /** Null for the first network. */
  readonly network: string | null;
  readonly attachment: Pick<Attachment, "backend" | "host" | "networkConfig">;
  readonly subnets: PerFamily<Prefix>;
  readonly firewall: FirewallSettings;
  /** Of the network in force and the one before: where peers' subnets may lie, and our own leftovers. */
  readonly ranges: readonly Prefix[];
  /** Ranges of the daemon's other networks. */
  readonly isolated: () => readonly Prefix[];
  readonly port: Pick<RtnetlinkPort, "links">;
  readonly identity: Pick<Identity, "deviceMacsOf">;
  readonly ownership: Pick<Ownership, "owned">;
}

/** The scope for the facts of this moment. Reads the host's devices. */
export function scopeOf(facts: ScopeFacts): Scope {
  const { attachment, subnets, firewall, port, identity, ownership, network } = facts;
  const { backend, host } = attachment;
  const { owned } = ownership;
  const objects = [...backend.planBase(subnets), ...hostObjects(firewall, subnets, interfacesOf(host))];
  const devices = new Set(backend.devices);
  const record = { devices: owned.devices, macs: identity.deviceMacsOf(network) };
  const leftovers = port.links().filter((link) => !devices.has(link.name) && isRecordedDevice(link, record));
  return {
    devices: new Set([...devices, ...leftovers.map(({ name }) => name)]),
    sharedDevices: new Set([...interfacesOf(host), ...owned.interfaces]),
    nexthopDevices: new Set([...devices, ...leftovers.map(({ name }) => name), ...backend.nexthopDevices]),
    networks: ownRanges(facts),
    sysctls: new Set(objects.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []))),
  };
}

/** A range that this network had before may be another network's now, and so are the routes in it. */
function ownRanges({ attachment, ranges, isolated }: ScopeFacts): readonly Prefix[] {
  const inForce = Object.values(attachment.networkConfig.families).map(({ network }) => network);
  const others = isolated();
  const isOurs = (range: Prefix): boolean => inForce.some((own) => own.equals(range));
  return ranges.filter((range) => isOurs(range) || !others.some((other) => other.overlaps(range)));
}
