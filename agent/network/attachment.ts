/**
 * How this host is attached to its network at one moment: the interface that was chosen, the facts about it, and the
 * backend prepared from both. Immutable: a change of the host or of a live option makes another one.
 */

import type { BackendOptions, HostFacts, PreparedBackend, ProvisionContext } from "../../backends/backend.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import type { Address, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../ipam/addresses/local-prefixes.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { LeaseAttrs } from "../../ipam/leases/lease.ts";
import { formatLeaseKey, formatLeaseValue, parseLeaseValue } from "../../ipam/leases/lease-codec.ts";
import type { PeerSettings } from "../../ipam/leases/peer-table.ts";
import type { StoreEntry } from "../../ipam/stores/contracts.ts";
import type { InterfaceSettings } from "../config/config.ts";
import { type ChosenInterfaces, chooseInterfaces, publicAddressesOf } from "../host/choose-interface.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import type { Identity } from "../host/identity.ts";
import {
  type BridgeAddress,
  bridgeAddresses,
  localPrefixes,
  withoutDataPath,
} from "../host/local-prefixes.ts";
import { familiesOf, optionsOf } from "./network-support.ts";
import type { Ownership } from "./ownership.ts";
import { hostFactsOf, settleDeviceMacs } from "./tunnel-host.ts";

export interface Attachment {
  readonly networkConfig: NetworkConfig;
  readonly options: BackendOptions;
  readonly chosen: ChosenInterfaces;
  readonly host: HostFacts;
  readonly backend: PreparedBackend;
  /** What this host reaches without the network; changes without a new attachment. */
  readonly local: readonly LocalPrefix[];
  /** Changes as `local` does, without a new attachment. */
  readonly bridges: readonly BridgeAddress[];
}

/** What all attachments to a network have in common. */
export interface AttachmentParts {
  /** Null for the first network. */
  readonly network: string | null;
  readonly settings: InterfaceSettings;
  /** Address of the store, null when it is local or only known by name. */
  readonly store: Address | null;
  /** All addresses of the store that are known. */
  readonly storeAddresses: readonly Address[];
  readonly port: RtnetlinkPort;
  readonly identity: Identity;
  readonly ownership: Ownership;
  readonly provisions: ProvisionContext;
}

/** What this host used until now. */
export interface PriorUse {
  /** The interfaces in use; null at a start. */
  readonly present: ChosenInterfaces | null;
  /** This host's subnets; at a start those of the last run. */
  readonly subnets: readonly Prefix[];
  /** The addresses that its lease names. */
  readonly leaseAddresses: readonly Address[];
}

/** The interfaces for the tunnel: see choose-interface.ts. Throws InterfaceError. */
export function chooseFor(
  { settings, store }: Pick<AttachmentParts, "settings" | "store">,
  config: NetworkConfig,
  snapshot: HostSnapshot,
  { present, subnets, leaseAddresses }: PriorUse,
): ChosenInterfaces {
  return chooseInterfaces(snapshot, {
    settings,
    families: familiesOf(config),
    store,
    containers: { plan: config.families, subnets, stores: store === null ? [] : [store] },
    leaseAddresses,
    present,
  });
}

/**
 * What the last run used: the lease with our node id or for the subnets of the last run. An address that is not this
 * host's does no harm, because only addresses of its interfaces count.
 */
export function priorUse(
  entries: readonly StoreEntry[],
  nodeId: string,
  lastSubnets: PerFamily<Prefix> | null,
): PriorUse {
  const subnets = lastSubnets === null ? [] : Object.values(lastSubnets);
  const lastKey = lastSubnets === null ? null : formatLeaseKey(lastSubnets);
  const leaseAddresses = entries
    .filter(({ key, value }) => key === lastKey || value.includes(nodeId))
    .flatMap(({ value }) => publicAddressesIn(value));
  return { present: null, subnets, leaseAddresses };
}

function publicAddressesIn(leaseValue: string): readonly Address[] {
  try {
    return Object.values(parseLeaseValue(leaseValue).publicAddress);
  } catch {
    return []; // the peer table reports it
  }
}

/** Prepares the backend for the chosen interfaces. What it will have on this host is recorded first. */
export async function attach(
  { port, identity, network, ownership, storeAddresses, provisions }: AttachmentParts,
  networkConfig: NetworkConfig,
  chosen: ChosenInterfaces,
  snapshot: HostSnapshot,
): Promise<Attachment> {
  const families = familiesOf(networkConfig);
  const parsed = optionsOf(networkConfig);
  const options = (await parsed.provision?.(provisions)) ?? parsed;
  const host = hostFactsOf(chosen, snapshot, networkConfig);
  const macs = await settleDeviceMacs(port, options, options.deviceNames(families), identity, network);
  const backend = options.prepare(host, families, macs);
  await ownership.add(Object.values(backend.devices), backend.sharedDevices);
  const reached = backend.isCarriedByOthers
    ? withoutDataPath(
        snapshot,
        Object.values(host.networks),
        new Set(Object.values(chosen).map(({ link }) => link.index)),
      )
    : snapshot;
  const local = localPrefixes(reached, storeAddresses);
  return { networkConfig, options, chosen, host, backend, local, bridges: bridgeAddresses(snapshot) };
}

/** What our lease says of this host. */
export function leaseAttrsOf({ chosen, backend }: Attachment, nodeId: string | null): LeaseAttrs {
  return {
    publicAddress: publicAddressesOf(chosen),
    backendType: backend.leaseType,
    backendData: backend.leaseData,
    nodeId,
  };
}

/** What the peer table must know of this host. */
export function peerSettingsOf(attachment: Attachment): Omit<PeerSettings, "networks"> {
  const { chosen, backend, local } = attachment;
  return {
    ownAddresses: publicAddressesOf(chosen),
    ownIdentities: backend.peerIdentities({ attrs: leaseAttrsOf(attachment, null) }),
    local,
    rejectPeer: (peer) => backend.rejectPeer(peer),
    rejectLocally: (peer) => backend.rejectLocally(peer),
    identitiesOf: (peer) => backend.peerIdentities(peer),
  };
}

/** Whether both know the same addresses, links and routes of the host. */
export function isSameLocally(a: Attachment, b: Attachment): boolean {
  const text = ({ local }: Attachment): string =>
    JSON.stringify(local.map(({ prefix, kind, origin }) => [prefix, kind, origin]).sort());
  return text(a) === text(b);
}

/** Whether two attachments lead to the same kernel objects, the same lease and the same subnet.env. */
export function isSameAttachment(a: Attachment, b: Attachment): boolean {
  return fingerprint(a) === fingerprint(b);
}

function fingerprint(attachment: Attachment): string {
  const { host, backend, networkConfig, chosen } = attachment;
  return JSON.stringify([
    networkConfig.text,
    Object.values(chosen).map(({ link }) => link.index),
    Object.values(host.uplinks).map((uplink) => [
      uplink.interface,
      uplink.mtuBytes,
      String(uplink.address),
      uplink.onLinkPrefixes.map(String),
    ]),
    backend.mtuBytes,
    formatLeaseValue(leaseAttrsOf(attachment, "")),
  ]);
}
