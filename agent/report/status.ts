/** What a running daemon tells about itself: the JSON behind `tulle status`. Types only. */

import type { FirewallStatus } from "../../backends/firewall/guard.ts";
import type { ReconcilerStatus } from "../../backends/kernel/reconciler.ts";

export interface PeerStatus {
  readonly key: string;
  readonly publicAddress: string;
  /** How packets to it travel. */
  readonly path: "tunnel" | "direct";
  /** It vanished from the store and is kept for the hold-down. */
  readonly isHeld: boolean;
}

export interface StatusReport {
  readonly version: string;
  readonly isReady: boolean;
  readonly store: string;
  readonly interface: { readonly name: string; readonly publicAddress: string; readonly reason: string };
  readonly network: { readonly ranges: readonly string[]; readonly backend: string };
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
  readonly kernel: ReconcilerStatus;
  readonly firewall: FirewallStatus;
  /** What a person should look at, one sentence each; empty when all is well. */
  readonly problems: readonly string[];
}
