/**
 * The daemon's counters, in Prometheus' text format 0.0.4.
 *
 * One catalogue names every metric; docs/metrics.md is compared with it by a test. No I/O: health.ts serves it.
 */

interface MetricDescription {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

/** Every metric. */
export const METRICS = {
  tulle_build_info: { type: "gauge", help: "Always 1; the version is a label.", labels: ["version"] },
  tulle_ready: { type: "gauge", help: "1 while the host is a working member of its network.", labels: [] },
  tulle_peers: { type: "gauge", help: "Hosts whose leases are in force.", labels: [] },
  tulle_peers_held: { type: "gauge", help: "Vanished hosts that are kept for now.", labels: [] },
  tulle_peers_by_version: {
    type: "gauge",
    help: "Hosts whose leases are in force, by their version of tulle: the ten most frequent ones; unknown for others and for flanneld.",
    labels: ["version"],
  },
  tulle_leases_refused: { type: "gauge", help: "Leases in the store that are not programmed.", labels: [] },
  tulle_peer_handshake_age_seconds: {
    type: "gauge",
    help: "Time since the last handshake with a peer; WireGuard only.",
    labels: ["peer"],
  },
  tulle_peer_received_bytes_total: {
    type: "counter",
    help: "Bytes received from a peer, as the kernel counts them; WireGuard only.",
    labels: ["peer"],
  },
  tulle_peer_sent_bytes_total: {
    type: "counter",
    help: "Bytes sent to a peer, as the kernel counts them; WireGuard only.",
    labels: ["peer"],
  },
  tulle_path_packets_total: {
    type: "counter",
    help: "Packets of containers, sent to or received from peers by the data path; udp only.",
    labels: ["direction"],
  },
  tulle_path_bytes_total: {
    type: "counter",
    help: "Bytes of these packets; udp only.",
    labels: ["direction"],
  },
  tulle_path_dropped_packets_total: {
    type: "counter",
    help: "Packets that the data path dropped; udp only.",
    labels: ["reason"],
  },
  tulle_path_icmp_errors_total: {
    type: "counter",
    help: "ICMP errors that the data path sent to containers; udp only.",
    labels: ["type"],
  },
  tulle_config_refused: {
    type: "gauge",
    help: "1 while the newest network configuration is not applied on this host, or missing in the store.",
    labels: [],
  },
  tulle_passes_total: { type: "counter", help: "Passes of the reconciler.", labels: [] },
  tulle_pass_seconds: { type: "histogram", help: "Duration of a pass.", labels: [] },
  tulle_resyncs_total: { type: "counter", help: "Full comparisons with the kernel.", labels: [] },
  tulle_changes_total: { type: "counter", help: "Changes made in the kernel.", labels: ["kind"] },
  tulle_change_failures_total: { type: "counter", help: "Changes that the kernel rejected.", labels: [] },
  tulle_drift_repaired_total: {
    type: "counter",
    help: "Objects repaired after another program changed them.",
    labels: ["kind"],
  },
  tulle_firewall_in_order: {
    type: "gauge",
    help: "1 while the firewall holds what is planned; absent with --firewall=none.",
    labels: [],
  },
  tulle_firewall_repairs_total: {
    type: "counter",
    help: "Times that firewall rules were repaired after another program changed them.",
    labels: [],
  },
  tulle_lease_renewals_total: { type: "counter", help: "Successful renewals of our lease.", labels: [] },
  tulle_lease_renewal_failures_total: { type: "counter", help: "Renewals that failed.", labels: [] },
  tulle_lease_losses_total: { type: "counter", help: "Times that our lease was no longer ours.", labels: [] },
  tulle_probes_total: {
    type: "counter",
    help: "Packets sent to learn about the paths to peers.",
    labels: [],
  },
  tulle_probes_lost_total: { type: "counter", help: "Those of them that were not answered.", labels: [] },
  tulle_probe_round_trip_seconds: {
    type: "histogram",
    help: "Time until a probe was answered through the tunnel.",
    labels: [],
  },
  tulle_broken_paths: {
    type: "gauge",
    help: "Peers to which the path is proven to be broken, by cause.",
    labels: ["cause"],
  },
  tulle_fallback_peers: {
    type: "gauge",
    help: "Peers whose packets go by the fall-back because their tunnel fails.",
    labels: [],
  },
  tulle_fallback_moves_total: {
    type: "counter",
    help: "Times that packets to a peer moved, to the fall-back or back to the tunnel.",
    labels: ["to"],
  },
  tulle_worst_peer_loss_ratio: {
    type: "gauge",
    help: "Share of the last probes through the tunnel that were lost, of the ten peers with the most loss.",
    labels: ["peer"],
  },
  tulle_worst_peer_round_trip_seconds: {
    type: "gauge",
    help: "Smoothed round trip through the tunnel, of the ten peers with the longest.",
    labels: ["peer"],
  },
  tulle_peer_paths: {
    type: "gauge",
    help: "Peers by the path that packets to them take (tunnel, direct, external or fallback).",
    labels: ["path"],
  },
  tulle_kernel_limit_reached: {
    type: "gauge",
    help: "1 while this host drops packets whatever the path, by cause: full tables, forwarding that is off, a bridge that is down.",
    labels: ["cause"],
  },
  tulle_networks: {
    type: "gauge",
    help: "Networks of the daemon, by whether this host is a working member (yes or no).",
    labels: ["ready"],
  },
  tulle_docker_networks: {
    type: "gauge",
    help: "Networks of Docker's network driver on this host.",
    labels: [],
  },
  tulle_docker_containers: {
    type: "gauge",
    help: "Containers on this host that are attached to them, once for each network.",
    labels: [],
  },
  tulle_events_total: {
    type: "counter",
    help: "Changes of state that the log tells, by level (info, warn or error).",
    labels: ["level"],
  },
  tulle_store_up: { type: "gauge", help: "1 while the store can be followed.", labels: [] },
  tulle_docker_calls_total: {
    type: "counter",
    help: "Calls of Docker's network and IPAM driver, by method and outcome (ok or error).",
    labels: ["method", "outcome"],
  },
  tulle_docker_call_seconds: {
    type: "histogram",
    help: "Time that dockerd waited for the answer to a call.",
    labels: [],
  },
  tulle_store_listings_total: {
    type: "counter",
    help: "Complete listings of the store after the first one.",
    labels: [],
  },
} as const satisfies Readonly<Record<string, MetricDescription>>;

export type MetricName = keyof typeof METRICS;
type NameOf<T extends MetricDescription["type"]> = {
  [N in MetricName]: (typeof METRICS)[N]["type"] extends T ? N : never;
}[MetricName];
type LabelsOf<N extends MetricName> = (typeof METRICS)[N]["labels"] extends readonly []
  ? Readonly<Record<string, never>>
  : Readonly<Record<(typeof METRICS)[N]["labels"][number], string>>;
/** Labels are required exactly where the catalogue names some. */
type LabelArguments<N extends MetricName> = (typeof METRICS)[N]["labels"] extends readonly []
  ? []
  : [labels: LabelsOf<N>];

/** Upper bounds of the histograms' buckets, in seconds. */
const BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3] as const;

/** The metrics of one daemon, or of one of its networks. */
export class Metrics {
  readonly #samples: Map<MetricName, Map<string, number>>;
  readonly #common: Readonly<Record<string, string>>;

  readonly #readers: Set<() => void>;
  /** What replace() set last. */
  readonly #replaced = new Map<MetricName, readonly string[]>();

  /** @param common labels of every sample */
  constructor(
    samples: Map<MetricName, Map<string, number>> = new Map(),
    common: Readonly<Record<string, string>> = {},
    readers: Set<() => void> = new Set(),
  ) {
    this.#samples = samples;
    this.#common = common;
    this.#readers = readers;
  }

  /** The same metrics, labelled with a network; those of the first one (null) have no label. */
  of(network: string | null): Metrics {
    return network === null ? this : new Metrics(this.#samples, { ...this.#common, network }, this.#readers);
  }

  /** Adds to a counter. */
  add<N extends NameOf<"counter">>(name: N, amount: number, ...[labels]: LabelArguments<N>): void {
    this.#bump(name, this.#labelText(labels), amount);
  }

  /** Sets a gauge. */
  set<N extends NameOf<"gauge">>(name: N, value: number, ...[labels]: LabelArguments<N>): void {
    this.#series(name).set(this.#labelText(labels), value);
  }

  /** Sets the whole of a metric with one label, of this network: its values by the label's. */
  replace<N extends MetricName>(
    name: N,
    label: (typeof METRICS)[N]["labels"][number],
    values: Iterable<readonly [string, number]>,
  ): void {
    const series = this.#series(name);
    for (const suffix of this.#replaced.get(name) ?? []) series.delete(suffix);
    const entries = [...values].map(([key, value]) => [this.#labelText({ [label]: key }), value] as const);
    for (const [suffix, value] of entries) series.set(suffix, value);
    this.#replaced.set(
      name,
      entries.map(([suffix]) => suffix),
    );
  }

  /** Calls `read` before each render, until the returned function is called. */
  beforeRender(read: () => void): () => void {
    this.#readers.add(read);
    return () => this.#readers.delete(read);
  }

  /** Counts one observation, in seconds, in a histogram. */
  observe(name: NameOf<"histogram">, seconds: number): void {
    for (const bound of [...BUCKETS, Number.POSITIVE_INFINITY]) {
      const le = Number.isFinite(bound) ? String(bound) : "+Inf";
      this.#bump(name, `_bucket${this.#labelText({ le })}`, seconds <= bound ? 1 : 0);
    }
    this.#bump(name, `_sum${this.#labelText()}`, seconds);
    this.#bump(name, `_count${this.#labelText()}`, 1);
  }

  /** All metrics that have a value; counters without labels always have one. */
  render(): string {
    for (const read of this.#readers) read();
    return (Object.keys(METRICS) as MetricName[]).map((name) => this.#renderOne(name)).join("");
  }

  #renderOne(name: MetricName): string {
    const { type, help, labels }: MetricDescription = METRICS[name];
    const samples = new Map(this.#series(name));
    if (type !== "histogram" && labels.length === 0 && samples.size === 0) samples.set("", 0);
    if (samples.size === 0) return "";
    const lines = [...samples].map(([suffix, value]) => `${name}${suffix} ${value}\n`);
    return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
  }

  #labelText(labels: Readonly<Record<string, string>> = {}): string {
    const pairs = Object.entries({ ...this.#common, ...labels }).map(
      ([name, value]) => `${name}="${escapeLabel(value)}"`,
    );
    return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  }

  #bump(name: MetricName, suffix: string, amount: number): void {
    const series = this.#series(name);
    series.set(suffix, (series.get(suffix) ?? 0) + amount);
  }

  #series(name: MetricName): Map<string, number> {
    let series = this.#samples.get(name);
    if (series === undefined) {
      series = new Map();
      this.#samples.set(name, series);
    }
    return series;
  }
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
