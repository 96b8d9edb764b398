/** From the chosen interface to what a backend must know of the host, and to the hardware address of its device. */

import { existsSync } from "node:fs";
import type { BackendOptions, DeviceIdentity, HostFacts } from "../../backends/backend.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { entriesOf, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { ChosenInterface, HostSnapshot } from "../host/choose-interface.ts";
import type { Identity } from "../host/identity.ts";

/** What the backend plans with. */
export function hostFactsOf(chosen: ChosenInterface, host: HostSnapshot): HostFacts {
  const { link, addresses, publicAddresses } = chosen;
  return {
    interface: link.name,
    mtuBytes: link.mtuBytes,
    addresses,
    publicAddresses,
    onLinkPrefixes: onLinkPrefixes(host, link.index),
    hasIpv6: existsSync("/proc/sys/net/ipv6"),
  };
}

/** The prefixes of the interface's own addresses: who is in there is a neighbour, without a router between. */
function onLinkPrefixes(host: HostSnapshot, interfaceIndex: number): readonly Prefix[] {
  return host.addresses
    .filter((address) => address.interfaceIndex === interfaceIndex)
    .map(({ address, length }) => Prefix.of(address, length));
}

/**
 * Decides the hardware address of each device before it exists, and writes it down: an existing device that can be
 * kept keeps its own, because peers know it; a new one gets the one that follows from the identity, and so does one
 * with the address of the host that this one was copied from.
 */
export async function settleDeviceMacs(
  port: RtnetlinkPort,
  options: BackendOptions,
  devices: PerFamily<string>,
  identity: Identity,
): Promise<DeviceIdentity> {
  const macs = new Map<string, Mac>();
  for (const [, device] of entriesOf(devices)) {
    const existing = existingMac(port, options, device);
    const mac = existing === null || identity.isForsaken(existing) ? identity.vtepMac(device) : existing;
    macs.set(device, mac);
    await identity.setVtepMac(device, mac);
  }
  return {
    macFor(device) {
      const mac = macs.get(device);
      if (mac === undefined) throw new Error(`no hardware address was settled for ${device}`);
      return mac;
    },
  };
}

function existingMac(port: RtnetlinkPort, options: BackendOptions, device: string): Mac | null {
  const link = port.findLink(device);
  return link !== null && options.canAdopt(link) ? link.mac : null;
}
