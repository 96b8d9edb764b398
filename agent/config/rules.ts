/** What must hold between settings and beyond a single flag's form, and what is probably a mistake. Pure. */

import { publicAddressProblem } from "../../ipam/addresses/peer-address.ts";
import { UnsupportedError } from "../../ipam/errors.ts";
import type { FlagName, FlagValues } from "./flags.ts";
import {
  type Environment,
  emptyVariables,
  isGiven,
  type Settings,
  settingError,
  unknownVariables,
} from "./settings.ts";

/** Throws ConfigError, and UnsupportedError for what this version does not do. */
export function requireConsistent(settings: Settings, values: FlagValues): void {
  rejectUnsupported(values);
  requirePairs(settings);
  requireAbsolutePaths(settings);
  requireReachable(settings, values);
  requireProbes(settings, values);
}

function rejectUnsupported(values: FlagValues): void {
  if (values["kube-subnet-mgr"]) {
    throw new UnsupportedError(
      "-kube-subnet-mgr is not in this version: keep the leases in etcd, Consul or a file store (--store)",
    );
  }
}

/** Settings that are useless or harmful without each other. */
const PAIRS: readonly (readonly [FlagName, FlagName])[] = [
  ["etcd-certfile", "etcd-keyfile"],
  ["etcd-username", "etcd-password"],
  ["consul-certfile", "consul-keyfile"],
];

function requirePairs(settings: Settings): void {
  const isEmpty = (name: FlagName): boolean => (settings[name].texts.at(-1) ?? "") === "";
  for (const [left, right] of PAIRS) {
    if (isEmpty(left) === isEmpty(right)) continue;
    const [present, absent] = isEmpty(left) ? [right, left] : [left, right];
    throw settingError(settings, present, `it needs -${absent} as well`);
  }
}

const ABSOLUTE_PATHS = [
  "subnet-file",
  "state-dir",
  "run-dir",
  "wireguard-key-file",
  "docker-plugin-socket",
  "docker-socket",
  "ui-token-file",
] as const satisfies readonly FlagName[];

/** The working directory of a daemon is arbitrary, so paths must be absolute. */
function requireAbsolutePaths(settings: Settings): void {
  for (const name of ABSOLUTE_PATHS) {
    const path = settings[name].texts.at(-1) ?? "";
    if (path === "" && !isGiven(settings, name)) continue;
    if (!path.startsWith("/")) throw settingError(settings, name, "give an absolute path");
  }
}

/** Packets move to the fall-back when probes of the tunnel fail. */
function requireProbes(settings: Settings, values: FlagValues): void {
  if (values.fallback === "none" || values["probe-rate"] > 0) return;
  throw settingError(settings, "fallback", 'it needs probes; remove "--probe-rate 0"');
}

/** With an address that no other host can send to this host would have no peers. */
function requireReachable(settings: Settings, values: FlagValues): void {
  for (const name of ["public-ip", "public-ipv6"] as const) {
    const address = values[name];
    const problem = address ? publicAddressProblem(address) : null;
    if (problem !== null)
      throw settingError(settings, name, `it ${problem}; give the address that other hosts send to`);
  }
}

/** One sentence each: harmless, but probably a mistake. */
export function warningsAbout(settings: Settings, environment: Environment): readonly string[] {
  const warnings = unknownVariables(environment).map(
    (variable) => `${variable} is not a setting of this version`,
  );
  for (const variable of emptyVariables(environment)) {
    warnings.push(`${variable} is empty and ignored: set it or remove it`);
  }
  for (const name of ["vmodule", "log_backtrace_at"] as const) {
    if (isGiven(settings, name)) warnings.push(`${settings[name].source} has no effect: use --log-level`);
  }
  if (settings.store.texts.at(-1) !== "consul") return warnings;
  for (const variable of UNUSED_CONSUL_VARIABLES) {
    if (environment[variable]) warnings.push(`${variable} is ignored: tulle has no such setting`);
  }
  return warnings;
}

/** Of Consul's own programs, for which a person may set them. */
const UNUSED_CONSUL_VARIABLES = ["CONSUL_CAPATH", "CONSUL_NAMESPACE", "CONSUL_PARTITION"] as const;
