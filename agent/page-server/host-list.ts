/**
 * The hosts of the page, of leases and this host's probes. A host that has not changed is the same object as before.
 *
 * Called every second for thousands of hosts: what follows from a lease alone is made once for each.
 */

import { escapeText } from "../../ipam/escape.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { ShownNetwork } from "../network/shown-network.ts";
import type { PathHealth } from "../probes/prober.ts";
import { nameOfHost } from "./host-name.ts";
import type { HostData } from "./page-data.ts";

const NOT_PROBED: Pick<PathHealth, "state" | "roundTripMs" | "lossShare"> = {
  state: "unknown",
  roundTripMs: null,
  lossShare: null,
};
const LONGEST_WORD = 40;

interface Known {
  readonly lease: Lease;
  readonly profile: HostProfile | null;
  /** Its name is what the host calls itself. */
  readonly host: HostData;
}

export class HostList {
  #own: HostData | null = null;
  #known = new Map<LeaseKey, Known>();
  /** As they are shown: with a name of their own. */
  #shown = new Map<LeaseKey, HostData>();

  /** This host first. Two hosts with one name are told apart by their addresses. */
  update(network: ShownNetwork): readonly HostData[] {
    const known = new Map<LeaseKey, Known>();
    for (const lease of network.peers.values()) known.set(lease.key, this.#peer(lease, network));
    this.#known = known;
    const own = ownHost(network);
    this.#own = this.#own !== null && isSameHost(this.#own, own) ? this.#own : own;
    return this.#withOwnNames([this.#own, ...[...known.values()].map(({ host }) => host)]);
  }

  #peer(lease: Lease, { pathTo, healthOf, profileOf }: ShownNetwork): Known {
    const profile = profileOf(lease.attrs.nodeId);
    const before = this.#known.get(lease.key);
    const isKept = before?.lease === lease && before.profile === profile;
    const base = isKept ? before.host : peerHost(lease, profile);
    const { state, roundTripMs, lossShare } = healthOf?.(lease.key) ?? NOT_PROBED;
    const measured: Measured = {
      path: pathTo(lease),
      state,
      // Two digits: what changes less is not worth sending.
      roundTripMs: roundTripMs === null ? null : Number(roundTripMs.toPrecision(2)),
      loss: lossShare === null ? null : Math.round(lossShare * 100) / 100,
    };
    if (isKept && isSameMeasure(base, measured)) return before;
    return { lease, profile, host: { ...base, ...measured } };
  }

  #withOwnNames(hosts: readonly HostData[]): readonly HostData[] {
    const counts = new Map<string, number>();
    for (const { name } of hosts) counts.set(name, (counts.get(name) ?? 0) + 1);
    const shown = new Map<LeaseKey, HostData>();
    for (const host of hosts) {
      const isUnique = counts.get(host.name) === 1 || host.addresses === "";
      const before = this.#shown.get(host.id);
      const named = isUnique ? host : { ...host, name: `${host.name} (${host.addresses})` };
      shown.set(host.id, before !== undefined && isSameHost(before, named) ? before : named);
    }
    this.#shown = shown;
    return [...shown.values()];
  }
}

type Measured = Pick<HostData, "path" | "state" | "roundTripMs" | "loss">;

function isSameMeasure(a: Measured, b: Measured): boolean {
  return a.state === b.state && a.roundTripMs === b.roundTripMs && a.loss === b.loss && a.path === b.path;
}

function isSameHost(a: HostData, b: HostData): boolean {
  return (
    a === b ||
    (isSameMeasure(a, b) &&
      a.id === b.id &&
      a.name === b.name &&
      a.nodeId === b.nodeId &&
      a.version === b.version &&
      a.kernel === b.kernel &&
      a.addresses === b.addresses &&
      a.backend === b.backend &&
      a.isReservation === b.isReservation &&
      a.isLeaving === b.isLeaving)
  );
}

/** What it says of itself. */
function saidOf(
  profile: HostProfile | null,
  addresses: readonly string[],
  key: LeaseKey,
): Pick<HostData, "name" | "version" | "kernel"> {
  return {
    name: nameOfHost(profile?.name ?? null, addresses, key),
    version: profile === null ? null : escapeText(profile.version, LONGEST_WORD),
    kernel: profile === null ? null : escapeText(profile.kernel, LONGEST_WORD),
  };
}

function ownHost({ own, profileOf }: ShownNetwork): HostData {
  const { key, nodeId, publicAddresses, backend } = own;
  return {
    id: key,
    ...saidOf(profileOf(nodeId), publicAddresses, key),
    nodeId,
    addresses: publicAddresses.join(", "),
    backend,
    isReservation: false,
    isLeaving: false,
    path: null,
    state: null,
    roundTripMs: null,
    loss: null,
  };
}

/** Without measures. */
function peerHost({ key, attrs, storeLeaseId, isLeaving }: Lease, profile: HostProfile | null): HostData {
  const { nodeId, backendType } = attrs;
  const addresses = Object.values(attrs.publicAddress).map(String);
  return {
    id: key,
    ...saidOf(profile, addresses, key),
    nodeId: nodeId === null ? null : escapeText(nodeId, LONGEST_WORD),
    addresses: addresses.join(", "),
    backend: escapeText(backendType || "udp", LONGEST_WORD),
    isReservation: storeLeaseId === null,
    isLeaving,
    path: null,
    state: null,
    roundTripMs: null,
    loss: null,
  };
}
