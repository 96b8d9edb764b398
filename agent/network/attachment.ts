/**
 * How this host is attached to its network at one moment: the interface that was chosen, the facts about it, and the
 * backend prepared from both. Immutable: a change of the host or of a live option makes another one.
 */

import type { BackendOptions, HostFacts, PreparedBackend, ProvisionContext } from "../../backends/backend.ts";
import type { Fallback } from "../../backends/fallback.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { canStandSideBySide, MixedBackend } from "../../backends/mixed.ts";
import type { Address, Family, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../ipam/addresses/local-prefixes.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { TulleError } from "../../ipam/errors.ts";
import type { Lease, LeaseAttrs } from "../../ipam/leases/lease.ts";
import {
  decodeEntry,
  formatLeaseKey,
  formatLeaseValue,
  parseLeaseValueOrNull,
} from "../../ipam/leases/lease-codec.ts";
import type { PeerSettings } from "../../ipam/leases/peer-settings.ts";
import type { StoreEntry } from "../../ipam/stores/contracts.ts";
import type { InterfaceSettings } from "../config/config.ts";
import type { Diversions } from "../fallback/diversions.ts";
import { type ChosenInterfaces, chooseInterfaces, publicAddressesOf } from "../host/choose-interface.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import type { Identity } from "../host/identity.ts";
import {
  type BridgeAddress,
  bridgeAddresses,
  localPrefixes,
  withoutDataPath,
} from "../host/local-prefixes.ts";
import { fallbackConfig, prepareFallback, requireFallback } from "./fallback-carrier.ts";
import { explainRejection, familiesOf, optionsOf, prepareForAnyHost } from "./network-support.ts";
import type { Ownership } from "./ownership.ts";
import { hostFactsOf, settleDeviceMacs, usedFacts } from "./tunnel-host.ts";

/** A backend that is prepared for this host, and the network configuration that asked for it. */
export interface Carrier {
  readonly config: NetworkConfig;
  readonly options: BackendOptions;
  readonly backend: PreparedBackend;
}

/** The configurations by whose backends this host is reached. */
export interface ConfigChoice {
  /** The one in force. */
  readonly present: NetworkConfig;
  /** Those before it, as long as hosts may need them; the last one first. */
  readonly formers: readonly NetworkConfig[];
  /** Which of them our lease asks peers to use. */
  readonly main: NetworkConfig;
}

export interface Attachment {
  readonly networkConfig: NetworkConfig;
  readonly options: BackendOptions;
  readonly chosen: ChosenInterfaces;
  readonly host: HostFacts;
  /** All of `carriers` as one. */
  readonly backend: MixedBackend;
  /** The present one first. */
  readonly carriers: readonly [Carrier, ...Carrier[]];
  /** The configuration of the carrier that our lease asks peers to use. */
  readonly main: NetworkConfig;
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
  /** Which peers are on the fall-back; null where there is to be none. */
  readonly diversions: Diversions | null;
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
  families: readonly Family[] = familiesOf(config),
): ChosenInterfaces {
  return chooseInterfaces(snapshot, {
    settings,
    families,
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
    .flatMap(({ value }) => Object.values(parseLeaseValueOrNull(value)?.publicAddress ?? {}));
  return { present: null, subnets, leaseAddresses };
}

/**
 * Prepares the backends for the chosen interfaces. What they will have on this host is recorded first. A former backend
 * that cannot be prepared, or not beside the present one, is left out. Those of `before` for which nothing has changed are
 * kept, and what they run goes on.
 */
export async function attach(
  common: AttachmentParts,
  choice: ConfigChoice,
  chosen: ChosenInterfaces,
  snapshot: HostSnapshot,
  before: Attachment | null = null,
): Promise<Attachment> {
  const parts = { ...common, before };
  const networkConfig = choice.present;
  if (parts.diversions !== null) requireFallback(networkConfig);
  const host = hostFactsOf(chosen, snapshot, networkConfig, before);
  const carriers = await prepareCarriers(parts, choice, host);
  const [present, ...others] = carriers;
  const asked = carriers.find(({ config }) => config === choice.main) ?? present;
  const formers = others.map((each) => each.backend);
  const fallback = await fallbackBeside(formers, parts, networkConfig, host);
  const backend = new MixedBackend(present.backend, formers, asked.backend, fallback);
  await parts.ownership.add(backend.devices, backend.sharedDevices);
  const own = Object.values(chosen).map(({ link }) => link.index);
  const reached = backend.isCarriedByOthers
    ? withoutDataPath(snapshot, Object.values(host.networks), new Set(own))
    : snapshot;
  return {
    networkConfig,
    options: present.options,
    chosen,
    host,
    backend,
    carriers,
    main: asked.config,
    local: localPrefixes(reached, parts.storeAddresses),
    bridges: bridgeAddresses(snapshot),
  };
}

/** The present one first. */
async function prepareCarriers(
  parts: PreparationParts,
  { present, formers }: ConfigChoice,
  host: HostFacts,
): Promise<readonly [Carrier, ...Carrier[]]> {
  const carriers: [Carrier, ...Carrier[]] = [await prepare(parts, present, host)];
  for (const former of formers) {
    const carrier = await prepareFormer(parts, former, host, carriers);
    if (carrier !== null) carriers.push(carrier);
  }
  return carriers;
}

async function fallbackBeside(
  formers: readonly PreparedBackend[],
  parts: PreparationParts,
  config: NetworkConfig,
  host: HostFacts,
): Promise<Fallback | null> {
  const { diversions, provisions } = parts;
  if (diversions === null) return null;
  const prepareOther = async (other: NetworkConfig) => (await prepare(parts, other, host)).backend;
  const { logger } = provisions;
  return await prepareFallback({ config, formers, host, diversions, logger, prepare: prepareOther });
}

/** With the attachment that is replaced; null at a start. */
type PreparationParts = AttachmentParts & { readonly before: Attachment | null };

async function prepare(
  { port, identity, network, provisions, before }: PreparationParts,
  config: NetworkConfig,
  host: HostFacts,
): Promise<Carrier> {
  const families = familiesOf(config);
  const parsed = optionsOf(config);
  const options = (await parsed.provision?.(provisions)) ?? parsed;
  const macs = await settleDeviceMacs(port, options, options.deviceNames(families), identity, network);
  const backend = options.prepare(host, families, macs);
  const carrier = { config, options, backend };
  if (before === null) return carrier;
  const source = sourceOf(carrier, host);
  const same = carriersOf(before).find((one) => sourceOf(one, before.host) === source);
  return same === undefined ? carrier : { ...carrier, backend: same.backend };
}

/** With that of the fall-back. */
function carriersOf({ networkConfig, carriers, backend }: Attachment): readonly SourcedBackend[] {
  const { fallback } = backend;
  if (fallback === null) return carriers;
  return [...carriers, { config: fallbackConfig(networkConfig), backend: fallback.part }];
}

type SourcedBackend = Pick<Carrier, "config" | "backend">;

/** All that a backend was prepared from. What a provision found on this host is in the lease. */
function sourceOf({ config, backend }: SourcedBackend, host: HostFacts): string {
  return JSON.stringify([
    config.backend.type,
    config.backend.options,
    backend.leaseData,
    usedFacts(host, backend),
  ]);
}

/** Null when this host must do without it. */
async function prepareFormer(
  parts: PreparationParts,
  config: NetworkConfig,
  host: HostFacts,
  others: readonly Carrier[],
): Promise<Carrier | null> {
  const { logger } = parts.provisions;
  const { type } = config.backend;
  try {
    // Asked of one that was made for no host in particular: a provision may run commands, and settles what devices have.
    const [candidate] = prepareForAnyHost(config).parts;
    const isPossible = others.every(({ backend }) => canStandSideBySide(backend, candidate, host));
    if (isPossible) return await prepare(parts, config, host);
    logger.info("the former backend cannot be kept beside the present one", { type });
    return null;
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    logger.warn("the former backend cannot be prepared", { type, error: error.message });
    return null;
  }
}

/** The same configurations with another one in force that needs no change-over. */
export function choiceOf(
  { networkConfig, carriers, main }: Attachment,
  present: NetworkConfig,
): ConfigChoice {
  const [, ...formers] = carriers;
  return {
    present,
    formers: formers.map(({ config }) => config),
    main: main === networkConfig ? present : main,
  };
}

/**
 * The attachment at a start: peers go on sending as our lease in the store asks them to, until the present backend is in
 * place. Without such a lease no peer sends.
 */
export function askedByLease(attachment: Attachment, ownLease: Lease | null): Attachment {
  if (ownLease === null) return attachment;
  const { otherBackends: _, ...attrs } = ownLease.attrs;
  const { carriers } = attachment;
  const [present, ...formers] = carriers;
  const asked =
    carriers.find(({ backend }) => backend.rejectPeer({ ...ownLease, attrs }) === null) ?? present;
  const backend = new MixedBackend(
    present.backend,
    formers.map((former) => former.backend),
    asked.backend,
    attachment.backend.fallback,
  );
  return { ...attachment, backend, main: asked.config };
}

/** This host's lease in the store: the one with our node id, or for the subnets of the last run. Null for none. */
export function ownLeaseIn(
  entries: readonly StoreEntry[],
  nodeId: string,
  lastSubnets: PerFamily<Prefix> | null,
): Lease | null {
  const lastKey = lastSubnets === null ? null : formatLeaseKey(lastSubnets);
  const own =
    entries.find(({ value }) => value.includes(nodeId)) ?? entries.find(({ key }) => key === lastKey);
  try {
    return own === undefined ? null : decodeEntry(own);
  } catch {
    return null; // the peer table reports it
  }
}

/** What our lease says of this host. */
export function leaseAttrsOf({ chosen, backend }: Attachment, nodeId: string | null): LeaseAttrs {
  const { leaseType: backendType, leaseData: backendData, offers } = backend;
  return {
    publicAddress: publicAddressesOf(chosen),
    backendType,
    backendData,
    ...(offers.length === 0 ? {} : { otherBackends: offers }),
    nodeId,
  };
}

/** What the peer table must know of this host. */
export function peerSettingsOf(attachment: Attachment): Omit<PeerSettings, "networks"> {
  const { chosen, backend, local, networkConfig } = attachment;
  return {
    ownAddresses: publicAddressesOf(chosen),
    ownIdentities: backend.peerIdentities({ attrs: leaseAttrsOf(attachment, null) }),
    local,
    rejectPeer: (peer) => explainRejection(networkConfig, peer, backend.rejectPeer(peer)),
    damageOf: (peer) => backend.damageOf(peer),
    rejectLocally: (peer) => backend.rejectLocally(peer),
    identitiesOf: (peer) => backend.peerIdentities(peer),
  };
}

/** Whether both know the same addresses, links, routes and bridges of the host. */
export function isSameLocally(a: Attachment, b: Attachment): boolean {
  const texts = (list: readonly object[]) => list.map((each) => JSON.stringify(each)).sort();
  const text = ({ local, bridges }: Attachment) => JSON.stringify([texts(local), texts(bridges)]);
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
    usedFacts(host, backend),
    backend.mtuBytes,
    formatLeaseValue(leaseAttrsOf(attachment, "")),
  ]);
}
