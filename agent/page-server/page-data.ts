/**
 * What the daemon sends to the page. Types only, without imports: the browser's code reads them too.
 *
 * Text is escaped and short; the page shows it as text, never as markup.
 */

export type PathState = "unknown" | "good" | "bad";

export interface HostData {
  /** The key of its lease. */
  readonly id: string;
  readonly name: string;
  /** Of its tulled; null for a host with flanneld. */
  readonly nodeId: string | null;
  /** Of its tulled; null where it is not known. */
  readonly version: string | null;
  /** Its release; null where it is not known. */
  readonly kernel: string | null;
  readonly addresses: string;
  readonly backend: string;
  readonly isReservation: boolean;
  readonly isLeaving: boolean;
  /** How this host's packets reach it; null for this host. */
  readonly path: "tunnel" | "direct" | "external" | "fallback" | null;
  /** As this host's probes show it; null for this host. */
  readonly state: PathState | null;
  /** In milliseconds; null before the first answer. */
  readonly roundTripMs: number | null;
  /** Smoothed, 0 to 1; null before the first answer. */
  readonly loss: number | null;
}

/** A broken path. */
export interface PairData {
  /** Lease keys. */
  readonly from: string;
  readonly to: string;
  /** The code of a cause. */
  readonly cause: string;
  /** The fault is proven to lie on the host `from`, which the other end can only suspect. */
  readonly isOwnFault: boolean;
  /** The end of a sentence that begins with the peer. */
  readonly seen: string;
  readonly remedy: string;
  /** When the daemon first heard of it: as `now` of PageData. */
  readonly since: number;
}

/** This host. */
export interface OwnData {
  readonly version: string;
  readonly isReady: boolean;
  /** One line. */
  readonly summary: string;
  readonly ranges: readonly string[];
  readonly backend: string;
  /** What is known beside its lease: a name and a value each. */
  readonly facts: readonly (readonly [string, string])[];
  /** One sentence each, the most severe first. */
  readonly problems: readonly string[];
}

/** All that changes at its own pace is counted here; the page fetches it when it shows it. */
export interface Revisions {
  readonly events: number;
  /** Null where named networks are off. */
  readonly networks: number | null;
}

export interface PageData {
  /** Seconds of a clock of the daemon's that is never set: ages are differences. */
  readonly now: number;
  /** The lease of this host; null before it has one. */
  readonly self: string | null;
  readonly own: OwnData;
  readonly hosts: readonly HostData[];
  readonly pairs: readonly PairData[];
  /** By host: broken paths that its report only counts. */
  readonly counted: Readonly<Record<string, number>>;
  /** Why the picture may be incomplete, one sentence each. */
  readonly notes: readonly string[];
  readonly revisions: Revisions;
}

/** What changed since the last one: whole sections, and of the hosts those that changed. */
export interface PageUpdate extends Partial<Omit<PageData, "now" | "hosts">> {
  readonly now: number;
  readonly hosts?: readonly HostData[];
  readonly gone?: readonly string[];
}

export interface EventData {
  /** As the log wrote it. */
  readonly time: string;
  readonly level: string;
  readonly message: string;
  readonly fields: readonly (readonly [string, string])[];
}

export interface ContainerData {
  readonly name: string;
  readonly host: string;
  readonly addresses: string;
  readonly engine: string;
}

export interface NetworkData {
  readonly name: string;
  readonly subnets: string;
  readonly vni: number;
  readonly isInternal: boolean;
  readonly containers: readonly ContainerData[];
  /** Containers that are left out of the list. */
  readonly others: number;
}
