/**
 * What the netavark plugin takes, as data: the program checks requests with it, and its help and its manual page are
 * made of it.
 */

import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";

export interface VerbUsage {
  /** Behind the verb: `<netns>`. */
  readonly arguments: string;
  readonly summary: string;
}

/** The first argument. All but `info` read JSON from standard input (netavark's plugin-API.md). */
export const VERBS = {
  create: { arguments: "", summary: "print the configuration of a new network, with its address ranges" },
  setup: { arguments: "<netns>", summary: "attach a container to a network and publish its ports" },
  teardown: { arguments: "<netns>", summary: "remove what setup made, complete or not" },
  info: { arguments: "", summary: "print the versions of the plugin and of netavark's plugin interface" },
} as const satisfies Readonly<Record<string, VerbUsage>>;

export type VerbName = keyof typeof VERBS;

/** The kinds of network that an option is for: this host's subnet, or a named network of the cluster. */
type NetworkKind = "subnet" | "named";

export interface OptionUsage {
  /** `podman network create -o KEY=VALUE`. */
  readonly key: string;
  readonly placeholder: string;
  readonly summary: string;
  /** Empty where there is none. */
  readonly default: string;
  readonly kinds: readonly NetworkKind[];
}

/** Names a network of the cluster; without it containers join this host's subnet. */
export const NAMED = "network";
/** Of `tulle cni install`: two networks on one bridge must not give an address twice. */
export const DEFAULT_CNI_NETWORK = "cbr0";

export const OPTIONS: readonly OptionUsage[] = [
  {
    key: NAMED,
    placeholder: "<name>",
    summary: "join the named network of this name or id, instead of this host's subnet",
    default: "",
    kinds: ["named"],
  },
  {
    key: "run_dir",
    placeholder: "<dir>",
    summary: `with ${NAMED}: --run-dir of tulled`,
    default: DEFAULT_PATHS.runDir,
    kinds: ["named"],
  },
  {
    key: "subnet_file",
    placeholder: "<file>",
    summary: "file with the lease of the network of tulled to join",
    default: DEFAULT_PATHS.subnetFile,
    kinds: ["subnet"],
  },
  {
    key: "state_dir",
    placeholder: "<dir>",
    summary: "folder of the records of containers",
    default: DEFAULT_PATHS.stateDir,
    kinds: ["subnet", "named"],
  },
  {
    key: "address_dir",
    placeholder: "<dir>",
    summary: "folder of reserved addresses",
    default: DEFAULT_PATHS.addressDir,
    kinds: ["subnet", "named"],
  },
  {
    key: "cni_network",
    placeholder: "<name>",
    summary: "the CNI network whose reservations are shared",
    default: DEFAULT_CNI_NETWORK,
    kinds: ["subnet"],
  },
];

export function optionKeys(kind: NetworkKind): readonly string[] {
  return OPTIONS.filter(({ kinds }) => kinds.includes(kind)).map(({ key }) => key);
}

/** For people, in the help and in the manual page. */
export const SUMMARY = "attach podman's containers to the network that tulled creates between hosts";
export const NOTES = `podman and netavark run this plugin for networks that were created with
podman network create -d tulle. All verbs but info read JSON from standard input.
Answers are JSON on standard output; a failure is {"error": "…"} and exit status 1.`;
