/** The interfaces for the tunnel at a start, when one family's address may be missing. */

import type { Address, Family, PerFamily } from "../../ipam/addresses/ip.ts";
import { compactPerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { StoreListing } from "../../ipam/stores/contracts.ts";
import type { ChosenInterfaces } from "../host/choose-interface.ts";
import type { Followed } from "../host/follow-interfaces.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import { startInterfaces } from "../host/start-interfaces.ts";
import { type AttachmentParts, chooseFor, ownLeaseIn, priorUse } from "./attachment.ts";
import { familiesOf, prepareForAnyHost } from "./network-support.ts";

/** Throws InterfaceError. */
export function chooseAtStart(
  parts: AttachmentParts,
  config: NetworkConfig,
  { entries }: StoreListing,
  lastSubnets: PerFamily<Prefix> | null,
  snapshot: HostSnapshot,
): Followed {
  const { nodeId } = parts.identity;
  const prior = priorUse(entries, nodeId, lastSubnets);
  const choose = (families: readonly Family[]): ChosenInterfaces =>
    chooseFor(parts, config, snapshot, prior, families);
  const leased = ownLeaseIn(entries, nodeId, lastSubnets)?.attrs.publicAddress ?? {};
  return startInterfaces(familiesOf(config), usable(leased, parts, config, snapshot), choose);
}

/**
 * Addresses that an interface can have had. Not those of a disk that was copied to other hardware, nor of a backend that
 * routes by the interface itself: what is on the link follows from the address that is there.
 */
function usable(
  leased: PerFamily<Address>,
  { identity, settings }: Pick<AttachmentParts, "identity" | "settings">,
  config: NetworkConfig,
  { links }: HostSnapshot,
): PerFamily<Address> {
  const { interfaceMac } = identity;
  if (interfaceMac === null || links.every(({ mac }) => mac !== interfaceMac)) return {};
  const { tunnels } = prepareForAnyHost(config);
  return compactPerFamily((family) => {
    const isLocal = settings.publicAddress[family] === undefined;
    return isLocal && tunnels[family] !== undefined ? leased[family] : undefined;
  });
}
