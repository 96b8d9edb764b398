/**
 * What subnet.env means for dockerd's command line: flannel's mk-docker-opts.sh, byte for byte.
 *
 * Pure: variables in, text out. The command reads and writes the files.
 */

import { ConfigError } from "../../ipam/errors.ts";
import type { JsonObject } from "../../ipam/json.ts";

/** Shell variables by name: those of subnet.env over those of the environment. */
export type Variables = ReadonlyMap<string, string>;

export interface DockerOptsRequest {
  /** One line for each option. */
  readonly individual: boolean;
  /** One line with all options. */
  readonly combined: boolean;
  /** The name of the line with all options. */
  readonly combinedKey: string;
  /** Say whether Docker masquerades; Docker before 1.3 does not know the option. */
  readonly ipMasq: boolean;
}

const OPTION_PREFIX = "DOCKER_OPT_";

/**
 * The text of docker_opts.env. Like the script it passes on every DOCKER_OPT_… variable it is given, in the order
 * of their names, puts the present value of the combined variable in front, and leaves out unknown values.
 * Throws ConfigError.
 */
export function formatDockerOpts(variables: Variables, request: DockerOptsRequest): string {
  const key = variableName(request.combinedKey);
  const options = new Map([...variables].filter(([name]) => name.startsWith(OPTION_PREFIX)));
  for (const [name, option] of ownOptions(variables, request.ipMasq))
    options.set(OPTION_PREFIX + name, option);
  const sorted = [...options].sort(([left], [right]) => (left < right ? -1 : 1));
  const before = variables.get(key) ?? "";
  // Two blanks after what was there before, as the script has it.
  const all = [before === "" ? "" : `${before} `, ...sorted.map(([, option]) => option)].join(" ");
  return [
    ...(request.individual ? sorted.map(([name, option]) => `${name}="${option}"\n`) : []),
    ...(request.combined ? [`${key}="${all}"\n`] : []),
  ].join("");
}

/** The same options as words for a command line. Throws ConfigError. */
export function dockerFlags(variables: Variables, withIpMasq: boolean): readonly string[] {
  return ownOptions(variables, withIpMasq).map(([, option]) => option);
}

/** The same options as settings of daemon.json. Throws ConfigError. */
export function daemonSettings(variables: Variables, withIpMasq: boolean): JsonObject {
  const subnet = variables.get("FLANNEL_SUBNET") ?? "";
  const mtu = variables.get("FLANNEL_MTU") ?? "";
  const ipMasq = withIpMasq ? dockerMasquerades(variables) : null;
  return {
    ...(subnet === "" ? {} : { bip: subnet }),
    ...(mtu === "" ? {} : { mtu: Number(mtu) }),
    ...(ipMasq === null ? {} : { "ip-masq": ipMasq }),
  };
}

function ownOptions(variables: Variables, withIpMasq: boolean): (readonly [name: string, option: string])[] {
  const options: (readonly [string, string])[] = [];
  const subnet = variables.get("FLANNEL_SUBNET") ?? "";
  const mtu = variables.get("FLANNEL_MTU") ?? "";
  const ipMasq = withIpMasq ? dockerMasquerades(variables) : null;
  if (subnet !== "") options.push(["BIP", `--bip=${subnet}`]);
  if (ipMasq !== null) options.push(["IPMASQ", `--ip-masq=${ipMasq}`]);
  if (mtu !== "") options.push(["MTU", `--mtu=${mtu}`]);
  return options;
}

/** One of the two masquerades: Docker where the agent does not. Null when subnet.env does not say. */
function dockerMasquerades(variables: Variables): boolean | null {
  const agentMasquerades = variables.get("FLANNEL_IPMASQ") ?? "";
  if (agentMasquerades === "") return null;
  if (agentMasquerades === "true" || agentMasquerades === "false") return agentMasquerades === "false";
  throw new ConfigError(
    `subnet.env: FLANNEL_IPMASQ is "${agentMasquerades}"; it must be true or false: restart the agent, which writes it again`,
  );
}

/** The script evaluates the name as shell code; here it must be a name. */
function variableName(name: string): string {
  if (/^[A-Za-z_][A-Za-z\d_]*$/.test(name)) return name;
  throw new ConfigError(`-k "${name}" is not a name for a shell variable; use letters, digits and _`);
}
