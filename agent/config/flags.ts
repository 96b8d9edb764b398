/**
 * Every setting of the daemon, described once: the parser, `--help`, docs/configuration.md and the reload
 * rules all come from this table.
 *
 * Names and defaults of origin `flannel` are flanneld's. Data only: no parsing, no I/O.
 */

import { DAEMON_FLAGS } from "./flags/daemon.ts";
import { DOCKER_FLAGS } from "./flags/docker.ts";
import { type Flag, GROUPS } from "./flags/flag.ts";
import { KUBERNETES_FLAGS } from "./flags/kubernetes.ts";
import { NETWORK_FLAGS } from "./flags/network.ts";
import { STORE_FLAGS } from "./flags/stores.ts";

export const FLAGS = {
  ...STORE_FLAGS,
  ...NETWORK_FLAGS,
  ...DOCKER_FLAGS,
  ...DAEMON_FLAGS,
  ...KUBERNETES_FLAGS,
} as const;

export type FlagName = keyof typeof FLAGS;
/** In the order of the help text. */
export const FLAG_NAMES = (Object.keys(FLAGS) as FlagName[]).sort((a, b) => placeOf(a) - placeOf(b));

/** The value of every flag. */
export type FlagValues = {
  readonly [N in FlagName]: ReturnType<(typeof FLAGS)[N]["kind"]["parse"]>;
};

/** A flag's description, without its own value type. */
export function flagOf(name: FlagName): Flag<unknown> {
  return FLAGS[name];
}

function placeOf(name: FlagName): number {
  return GROUPS.indexOf(flagOf(name).group);
}

export function isFlagName(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

/** `FLANNELD_PUBLIC_IP` for flannel's flags, `TULLED_STATE_DIR` for our own. */
export function environmentName(name: FlagName): string {
  const prefix = flagOf(name).origin === "flannel" ? "FLANNELD" : "TULLED";
  return `${prefix}_${name.toUpperCase().replaceAll("-", "_")}`;
}
