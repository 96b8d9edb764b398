/** The description of one setting. */

import type { Kind } from "./flag-kinds.ts";

/** Headings of the help text, in its order. */
export const GROUPS = [
  "General",
  "Lease store",
  "etcd",
  "Consul",
  "Interface",
  "Lease",
  "Firewall and forwarding",
  "Docker",
  "Files",
  "Health and logs",
  "Kubernetes (read for compatibility; not in this version)",
] as const;
export type Group = (typeof GROUPS)[number];

export interface Flag<T> {
  readonly group: Group;
  readonly kind: Kind<T>;
  /** As one would write it on the command line; for repeatable flags empty means none. */
  readonly default: string;
  /** One sentence without a full stop. */
  readonly help: string;
  /** The program that defined the flag: it decides the prefix of its environment variable. */
  readonly origin: "flannel" | "tulle";
  /** Environment variable of another program, read after our own. */
  readonly alsoEnv?: string;
  /** True when the value must never be shown. */
  readonly isSecret?: boolean;
  /** True when the value names a file whose content must never be shown. */
  readonly isSecretFile?: boolean;
  /** True when SIGHUP may change it while the daemon runs. */
  readonly isLive?: boolean;
  /** False when it makes sense only on the command line. Default true. */
  readonly isInFile?: boolean;
}

export type Flags = Readonly<Record<string, Flag<unknown>>>;
