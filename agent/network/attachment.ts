/**
 * How this host hangs on its network at one moment: the interface that was chosen, the facts about it, and the
 * backend prepared from both. Made anew when the host or a live option changes; never changed in place.
 */

import type { BackendOptions, HostFacts, PreparedBackend } from "../../backends/backend.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { LeaseAttrs } from "../../ipam/leases/lease.ts";
import { formatLeaseValue } from "../../ipam/leases/lease-codec.ts";
import type { InterfaceSettings } from "../config/config.ts";
import { type ChosenInterface, chooseInterface, type HostSnapshot } from "../host/choose-interface.ts";
import type { Identity } from "../host/identity.ts";
import { familiesOf, optionsOf } from "./network-support.ts";
import { hostFactsOf, settleDeviceMacs } from "./tunnel-host.ts";

export interface Attachment {
  readonly networkConfig: NetworkConfig;
  readonly options: BackendOptions;
  readonly chosen: ChosenInterface;
  readonly host: HostFacts;
  readonly backend: PreparedBackend;
}

/** The parts that an attachment is made with; the same for every one of a daemon. */
export interface AttachmentParts {
  readonly settings: InterfaceSettings;
  /** Address of the store, null when it is local or only known by name. */
  readonly store: Address | null;
  readonly port: RtnetlinkPort;
  readonly identity: Identity;
}

/**
 * The interface for the tunnel. A running daemon stays with the one it has (`current`) as long as that one has an
 * address, whatever the rules would choose now. Throws InterfaceError.
 */
export function chooseFor(
  { settings, store }: AttachmentParts,
  config: NetworkConfig,
  snapshot: HostSnapshot,
  current: string | null,
): ChosenInterface {
  const families = familiesOf(config);
  const choose = (rules: InterfaceSettings): ChosenInterface =>
    chooseInterface(rules, families, snapshot, store);
  if (current === null) return choose(settings);
  try {
    const chosen = choose(settings);
    if (chosen.link.name === current) return chosen;
  } catch {
    // The rules find nothing now, for example while the default route is away; the interface may still do.
  }
  return choose({ ...settings, interfaces: [current], patterns: [], canReach: null });
}

/** Prepares the backend for the chosen interface, with hardware addresses that are written down first. */
export async function attach(
  { port, identity }: AttachmentParts,
  networkConfig: NetworkConfig,
  chosen: ChosenInterface,
  snapshot: HostSnapshot,
): Promise<Attachment> {
  const families = familiesOf(networkConfig);
  const options = optionsOf(networkConfig);
  const host = hostFactsOf(chosen, snapshot);
  const macs = await settleDeviceMacs(port, options, options.deviceNames(families), identity);
  return { networkConfig, options, chosen, host, backend: options.prepare(host, families, macs) };
}

/** What our lease says of this host. */
export function leaseAttrsOf({ host, backend }: Attachment, nodeId: string): LeaseAttrs {
  return {
    publicAddress: host.publicAddresses,
    backendType: backend.type,
    backendData: backend.leaseData,
    nodeId,
  };
}

/** Whether two attachments lead to the same kernel objects, the same lease and the same subnet.env. */
export function isSameAttachment(a: Attachment, b: Attachment): boolean {
  return fingerprint(a) === fingerprint(b);
}

function fingerprint(attachment: Attachment): string {
  const { host, backend, networkConfig, chosen } = attachment;
  return JSON.stringify([
    networkConfig.text,
    host.interface,
    chosen.link.index,
    host.mtuBytes,
    Object.values(host.addresses).map(String),
    host.onLinkPrefixes.map(String),
    backend.mtuBytes,
    formatLeaseValue(leaseAttrsOf(attachment, "")),
  ]);
}
