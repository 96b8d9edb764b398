/** What a running daemon reports: the JSON behind `tulle status`. Types only. */

import type { PathTraffic, PeerDetails, PeerPath } from "../../backends/backend.ts";
import type { FirewallStatus } from "../../backends/firewall/guard.ts";
import type { ReconcilerStatus } from "../../backends/kernel/reconciler.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { CauseFinding } from "../probes/broken-paths.ts";
import type { PathHealth } from "../probes/prober.ts";

export interface PeerStatus {
  readonly key: string;
  /** What its host says of itself; absent for a host that does not, such as one that runs flanneld. */
  readonly host?: HostProfile;
  readonly publicAddress: string;
  /** How packets to it travel. */
  readonly path: PeerPath;
  /** The former backend by which they travel while the network changes over; absent for the present one. */
  readonly formerBackend?: string;
  /** For how long its packets have gone by the fall-back; absent where they do not. */
  readonly fallback?: { readonly seconds: number };
  /** Its lease disappeared from the store, and it is kept for the hold-down. */
  readonly isHeld: boolean;
  /** Absent for a backend without sessions. */
  readonly details?: PeerDetails;
  /** What probes showed of the path; absent where paths are not probed. */
  readonly health?: PathHealth;
}

export interface StatusReport {
  readonly version: string;
  readonly isReady: boolean;
  readonly store: string;
  readonly interface: { readonly name: string; readonly publicAddress: string; readonly reason: string };
  readonly network: {
    /** Absent for the first network. */
    readonly name?: string;
    readonly ranges: readonly string[];
    readonly backend: string;
    /** Backends that it had before, as long as hosts need them; absent for none. */
    readonly formerBackends?: readonly string[];
  };
  readonly lease: {
    readonly key: string;
    /** `held`, `lost` or `conflict`. */
    readonly state: string;
    readonly reason: string | null;
    /** Seconds until the store lets it expire unless renewed; null for a reservation. */
    readonly secondsLeft: number | null;
  };
  readonly devices: readonly { readonly name: string; readonly mtuBytes: number }[];
  readonly peers: readonly PeerStatus[];
  readonly refused: readonly { readonly key: string; readonly reason: string }[];
  /** Absent for a backend whose packets the kernel carries. */
  readonly traffic?: PathTraffic;
  readonly kernel: ReconcilerStatus;
  readonly firewall: FirewallStatus;
  /** What is wrong by name, those that lie on this host first. */
  readonly causes: readonly CauseFinding[];
  /** One sentence each, the most severe first; empty when nothing is wrong. */
  readonly problems: readonly string[];
  /** Those of the problems that keep this host from being ready. */
  readonly blocking: readonly string[];
}

/** One of the daemon's networks: the JSON of the control socket's /networks. */
export interface NetworkSummary {
  /** Null for the first network. */
  readonly name: string | null;
  readonly isReady: boolean;
  /** What this host is in it, or why it is not ready. */
  readonly summary: string;
  /** Null before it is joined. */
  readonly status: StatusReport | null;
}
