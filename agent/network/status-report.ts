/** Builds the status report of a joined network. Pure. */

import type { PathTraffic, PeerDetails } from "../../backends/backend.ts";
import type { FirewallStatus } from "../../backends/firewall/guard.ts";
import type { ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { Lease, LeaseKey, LeaseSnapshot } from "../../ipam/leases/lease.ts";
import type { OwnLease } from "../../ipam/leases/own-lease.ts";
import type { FallbackPaths } from "../fallback/fallback-paths.ts";
import { interfaceNames, publicAddressesOf, reasonsOf } from "../host/choose-interface.ts";
import type { CauseFinding } from "../probes/broken-paths.ts";
import type { PathHealth } from "../probes/prober.ts";
import type { PeerStatus, StatusReport } from "../report/status.ts";
import type { Attachment } from "./attachment.ts";
import { isReady, type Problem } from "./problems.ts";

export interface MemberView {
  /** Null for the first network. */
  readonly name: string | null;
  readonly version: string;
  readonly store: string;
  readonly attachment: Attachment;
  readonly lease: OwnLease;
  readonly snapshot: LeaseSnapshot;
  readonly details: ReadonlyMap<LeaseKey, PeerDetails>;
  /** Null where paths are not probed. */
  readonly healthOf: ((peer: LeaseKey) => PathHealth) | null;
  /** Null for a host without a record. */
  readonly profileOf: (peer: Lease) => HostProfile | null;
  /** Null where there is none. */
  readonly fallback: Pick<FallbackPaths, "stateOf"> | null;
  /** Null for a backend whose packets the kernel carries. */
  readonly traffic: PathTraffic | null;
  readonly kernel: ReconcilerStatus;
  readonly firewall: FirewallStatus;
  readonly causes: readonly CauseFinding[];
  readonly problems: readonly Problem[];
  readonly nowMs: number;
}

/** The whole report. */
export function statusReport(view: MemberView): StatusReport {
  const { attachment, lease, snapshot, kernel } = view;
  const { chosen, backend, networkConfig } = attachment;
  return {
    version: view.version,
    isReady: isReady(view.problems),
    store: view.store,
    interface: {
      name: interfaceNames(chosen),
      publicAddress: Object.values(publicAddressesOf(chosen)).join(", "),
      reason: reasonsOf(chosen),
    },
    network: {
      ...(view.name === null ? {} : { name: view.name }),
      ranges: Object.values(networkConfig.families).map(({ network }) => network.toString()),
      backend: backend.type,
      ...(backend.formerTypes.length === 0 ? {} : { formerBackends: backend.formerTypes }),
    },
    lease: leaseStatus(lease, view.nowMs),
    devices: backend
      .planBase(lease.subnets)
      .flatMap((object) =>
        object.kind === "link" ? [{ name: object.name, mtuBytes: object.mtuBytes }] : [],
      ),
    peers: [...snapshot.peers.values()].map((peer) => peerStatus(peer, view)),
    ...(view.traffic === null ? {} : { traffic: view.traffic }),
    refused: [...snapshot.rejected.values()],
    kernel,
    firewall: view.firewall,
    causes: view.causes,
    problems: view.problems.map(({ text }) => text),
    blocking: view.problems.flatMap(({ text, isBlocking }) => (isBlocking ? [text] : [])),
  };
}

function leaseStatus({ entry, state, deadlineMs }: OwnLease, nowMs: number): StatusReport["lease"] {
  const secondsLeft = Math.max(0, Math.round((deadlineMs - nowMs) / 1000));
  return {
    key: entry.key,
    state: state.state,
    reason: state.state === "held" ? state.unpublished : state.reason,
    secondsLeft: Number.isFinite(secondsLeft) ? secondsLeft : null,
  };
}

function peerStatus(peer: Lease, view: MemberView): PeerStatus {
  const { backend } = view.attachment;
  return {
    key: peer.key,
    ...hostOf(view.profileOf(peer)),
    publicAddress: Object.values(peer.attrs.publicAddress).join(", "),
    path: backend.pathTo(peer),
    ...formerOf(backend.formerTypeTo(peer)),
    ...fallbackOf(view, peer.key),
    isHeld: view.snapshot.held.has(peer.key),
    ...detailsOf(view, peer.key),
    ...(view.healthOf === null ? {} : { health: view.healthOf(peer.key) }),
  };
}

function detailsOf({ details }: MemberView, key: LeaseKey): { readonly details?: PeerDetails } {
  const found = details.get(key);
  return found === undefined ? {} : { details: found };
}

function hostOf(profile: HostProfile | null): { readonly host?: HostProfile } {
  return profile === null ? {} : { host: profile };
}

function fallbackOf({ fallback, nowMs }: MemberView, key: LeaseKey): Pick<PeerStatus, "fallback"> {
  const sinceMs = fallback?.stateOf(key, nowMs).sinceMs ?? null;
  return sinceMs === null ? {} : { fallback: { seconds: Math.round((nowMs - sinceMs) / 1000) } };
}

function formerOf(type: string | null): { readonly formerBackend?: string } {
  return type === null ? {} : { formerBackend: type };
}
