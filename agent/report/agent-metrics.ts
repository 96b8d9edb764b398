/** Translates what the parts of one network report into metrics. */

import type { PathTraffic, PeerDetails } from "../../backends/backend.ts";
import type { PassReport } from "../../backends/kernel/reconciler.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import type { StoreMessage } from "../../ipam/stores/contracts.ts";
import type { PathFigures } from "../probes/network-prober.ts";
import type { Metrics } from "./metrics.ts";

/** Versions come from the store: a series for each would have no bound. */
const MOST_VERSIONS = 10;
const UNKNOWN = "unknown";

export class AgentMetrics {
  readonly #metrics: Metrics;
  #leaseState: LeaseState["state"] = "held";

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  setReady(isReady: boolean): void {
    this.#metrics.set("tulle_ready", isReady ? 1 : 0);
  }

  setPeers(peers: number, held: number, rejected: number): void {
    this.#metrics.set("tulle_peers", peers);
    this.#metrics.set("tulle_peers_held", held);
    this.#metrics.set("tulle_leases_refused", rejected);
  }

  /** How many peers have which version of tulle; null for one that is not known. */
  setVersions(versions: Iterable<string | null>): void {
    const counts = new Map<string, number>();
    for (const version of versions) counts.set(version ?? UNKNOWN, (counts.get(version ?? UNKNOWN) ?? 0) + 1);
    const sorted = [...counts].sort(([, left], [, right]) => right - left);
    const [shown, rest] = [sorted.slice(0, MOST_VERSIONS), sorted.slice(MOST_VERSIONS)];
    const others = rest.reduce((sum, [, count]) => sum + count, 0);
    const known = new Map(shown);
    if (others > 0) known.set(UNKNOWN, (known.get(UNKNOWN) ?? 0) + others);
    this.#metrics.replace("tulle_peers_by_version", "version", [...known]);
  }

  /** Calls `read` before the metrics are shown, until the returned function is called. */
  measure(read: () => void): () => void {
    return this.#metrics.beforeRender(read);
  }

  /** The sessions with peers, in place of those before. */
  setSessions(sessions: ReadonlyMap<string, PeerDetails>): void {
    const each = (value: (details: PeerDetails) => number | null): readonly (readonly [string, number])[] =>
      [...sessions].flatMap(([peer, details]) => {
        const found = value(details);
        return found === null ? [] : [[peer, found] as const];
      });
    this.#metrics.replace(
      "tulle_peer_handshake_age_seconds",
      "peer",
      each((one) => one.handshakeAgeSeconds),
    );
    this.#metrics.replace(
      "tulle_peer_received_bytes_total",
      "peer",
      each((one) => one.receivedBytes),
    );
    this.#metrics.replace(
      "tulle_peer_sent_bytes_total",
      "peer",
      each((one) => one.sentBytes),
    );
  }

  /** What the data path in user space has counted; null without one. */
  setTraffic(traffic: PathTraffic | null): void {
    const { sent, received } = traffic ?? {};
    const directions = Object.entries({ sent, received }).flatMap(([direction, count]) =>
      count === undefined ? [] : [{ direction, ...count }],
    );
    this.#metrics.replace(
      "tulle_path_packets_total",
      "direction",
      directions.map(({ direction, packets }) => [direction, packets]),
    );
    this.#metrics.replace(
      "tulle_path_bytes_total",
      "direction",
      directions.map(({ direction, bytes }) => [direction, bytes]),
    );
    this.#metrics.replace(
      "tulle_path_dropped_packets_total",
      "reason",
      Object.entries(traffic?.dropped ?? {}),
    );
    this.#metrics.replace("tulle_path_icmp_errors_total", "type", Object.entries(traffic?.icmpErrors ?? {}));
  }

  setConfigRefused(isRefused: boolean): void {
    this.#metrics.set("tulle_config_refused", isRefused ? 1 : 0);
  }

  notePass({ applied, repaired, durationMs, wasDump, failed }: PassReport): void {
    this.#metrics.add("tulle_passes_total", 1);
    this.#metrics.observe("tulle_pass_seconds", durationMs / 1000);
    if (wasDump) this.#metrics.add("tulle_resyncs_total", 1);
    if (failed > 0) this.#metrics.add("tulle_change_failures_total", failed);
    for (const [kind, count] of Object.entries(applied))
      this.#metrics.add("tulle_changes_total", count, { kind });
    for (const [kind, count] of Object.entries(repaired))
      this.#metrics.add("tulle_drift_repaired_total", count, { kind });
  }

  noteProbe(isLost: boolean): void {
    this.#metrics.add("tulle_probes_total", 1);
    if (isLost) this.#metrics.add("tulle_probes_lost_total", 1);
  }

  noteRoundTrip(milliseconds: number): void {
    this.#metrics.observe("tulle_probe_round_trip_seconds", milliseconds / 1000);
  }

  setPaths({ broken, lossShares, roundTripSeconds }: PathFigures): void {
    this.#metrics.replace("tulle_broken_paths", "cause", broken);
    this.#metrics.replace("tulle_worst_peer_loss_ratio", "peer", lossShares);
    this.#metrics.replace("tulle_worst_peer_round_trip_seconds", "peer", roundTripSeconds);
  }

  /** How many peers are reached by each kind of path. */
  setPeerPaths(counts: ReadonlyMap<string, number>): void {
    this.#metrics.replace("tulle_peer_paths", "path", counts);
  }

  /** What makes this host drop packets, whatever the path. */
  setLimits(codes: readonly string[]): void {
    this.#metrics.replace(
      "tulle_kernel_limit_reached",
      "cause",
      codes.map((code) => [code, 1] as const),
    );
  }

  setFallbackPeers(count: number): void {
    this.#metrics.set("tulle_fallback_peers", count);
  }

  noteFallbackMove(to: string): void {
    this.#metrics.add("tulle_fallback_moves_total", 1, { to });
  }

  noteFirewallPass({ isInSync, isRepair }: { readonly isInSync: boolean; readonly isRepair: boolean }): void {
    this.#metrics.set("tulle_firewall_in_order", isInSync ? 1 : 0);
    if (isRepair) this.#metrics.add("tulle_firewall_repairs_total", 1);
  }

  /** A message proves that the store can be followed. */
  noteMessage({ type }: StoreMessage): void {
    this.setStoreUp(true);
    if (type === "list") this.#metrics.add("tulle_store_listings_total", 1);
  }

  setStoreUp(isUp: boolean): void {
    this.#metrics.set("tulle_store_up", isUp ? 1 : 0);
  }

  noteRenewal(isRenewed: boolean): void {
    this.#metrics.add(isRenewed ? "tulle_lease_renewals_total" : "tulle_lease_renewal_failures_total", 1);
  }

  /** Counts each loss once, however often its reason changes. */
  noteLease({ state }: LeaseState): void {
    if (this.#leaseState === "held" && state !== "held") this.#metrics.add("tulle_lease_losses_total", 1);
    this.#leaseState = state;
  }
}
