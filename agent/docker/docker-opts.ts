/**
 * What subnet.env means for dockerd's command line: for IPv4 flannel's mk-docker-opts.sh, byte for byte, and with IPv6
 * the options that the script lacks.
 *
 * Pure: variables in, text out. The command reads and writes the files.
 */

import { type InterfaceAddress, Prefix, parseInterfaceAddress } from "../../ipam/addresses/ip.ts";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import type { JsonObject } from "../../ipam/json.ts";

/** Shell variables by name: those of subnet.env over those of the environment. */
export type Variables = ReadonlyMap<string, string>;

/** What of the options is wanted. */
export interface OptionChoice {
  /** Say whether Docker masquerades; Docker before 1.3 does not know the option. */
  readonly ipMasq: boolean;
  /** Docker 20.10 to 26: let it masquerade IPv6, by its experimental ip6tables. */
  readonly ip6tables: boolean;
}

export interface DockerOptsRequest extends OptionChoice {
  /** One line for each option. */
  readonly individual: boolean;
  /** One line with all options. */
  readonly combined: boolean;
  /** The name of the line with all options. */
  readonly combinedKey: string;
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
  for (const option of ownOptions(variables, request))
    options.set(OPTION_PREFIX + option.variable, spell(option));
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
export function dockerFlags(variables: Variables, choice: OptionChoice): readonly string[] {
  return ownOptions(variables, choice).map(spell);
}

/** The same options as settings of daemon.json. Throws ConfigError. */
export function daemonSettings(variables: Variables, choice: OptionChoice): JsonObject {
  return Object.fromEntries(ownOptions(variables, choice).map(({ key, value }) => [key, value]));
}

interface DaemonOption {
  /** The end of the variable's name; the script's name where the script has the option. */
  readonly variable: string;
  /** The option's long name, which is its key in daemon.json. */
  readonly key: string;
  readonly value: string | number | boolean;
}

function spell({ key, value }: DaemonOption): string {
  return `--${key}=${value}`;
}

function ownOptions(variables: Variables, choice: OptionChoice): readonly DaemonOption[] {
  const subnet = bridgeAddress(variables) === null ? "" : (variables.get("FLANNEL_SUBNET") ?? "");
  const mtu = variables.get("FLANNEL_MTU") ?? "";
  if (mtu !== "" && !/^\d+$/.test(mtu)) throw wrongValue("FLANNEL_MTU", mtu, "is not a number");
  const range = containerRange(variables);
  const masquerades = choice.ipMasq || range !== null ? dockerMasquerades(variables) : null;
  requireIpv4(variables, range);
  const options: DaemonOption[] = [];
  if (subnet !== "") options.push({ variable: "BIP", key: "bip", value: subnet });
  if (choice.ipMasq && masquerades !== null)
    options.push({ variable: "IPMASQ", key: "ip-masq", value: masquerades });
  if (mtu !== "") options.push({ variable: "MTU", key: "mtu", value: Number(mtu) });
  if (range === null) return options;
  options.push(
    { variable: "IPV6", key: "ipv6", value: true },
    { variable: "FIXED_CIDR_V6", key: "fixed-cidr-v6", value: range.toString() },
  );
  if (choice.ip6tables && masquerades === true) {
    options.push(
      { variable: "IP6TABLES", key: "ip6tables", value: true },
      { variable: "EXPERIMENTAL", key: "experimental", value: true },
    );
  }
  return options;
}

/** The address of Docker's bridge, in this host's subnet; null when subnet.env has none. Throws ConfigError. */
export function bridgeAddress(variables: Variables): InterfaceAddress | null {
  return interfaceAddress(variables, "FLANNEL_SUBNET");
}

/** Docker numbers its bridge and its containers from the range itself; null when there is none. Throws ConfigError. */
export function containerRange(variables: Variables): Prefix | null {
  const found = interfaceAddress(variables, "FLANNEL_IPV6_SUBNET");
  return found === null ? null : Prefix.of(found.address, found.length);
}

function interfaceAddress(variables: Variables, name: string): InterfaceAddress | null {
  const text = variables.get(name) ?? "";
  if (text === "") return null;
  try {
    return parseInterfaceAddress(text);
  } catch (cause) {
    throw wrongValue(name, text, errorMessage(cause), cause);
  }
}

function wrongValue(name: string, text: string, reason: string, cause?: unknown): ConfigError {
  return new ConfigError(
    `subnet.env: ${name} is "${text}" (${reason}): restart the agent, which writes it again`,
    { cause },
  );
}

/** Docker's default bridge always has IPv4, with a range of Docker's own where it is given none. */
function requireIpv4(variables: Variables, range: Prefix | null): void {
  if (range === null || (variables.get("FLANNEL_SUBNET") ?? "") !== "") return;
  const options = [
    ...["--ipv4=false", "--ipv6", `--subnet ${range}`, `--gateway ${range.base.plus(1)}`],
    `--opt com.docker.network.driver.mtu=${variables.get("FLANNEL_MTU") ?? ""}`,
    `--opt com.docker.network.bridge.enable_ip_masquerade=${dockerMasquerades(variables) === true}`,
  ];
  throw new ConfigError(
    `the network has IPv6 only, and Docker's default bridge cannot be without IPv4: with Docker 28 or newer run ` +
      `"docker network create ${options.join(" ")} overlay" and start containers with --network overlay`,
  );
}

/** One of the two masquerades: Docker where the agent does not. Null when subnet.env does not say. */
function dockerMasquerades(variables: Variables): boolean | null {
  const agentMasquerades = variables.get("FLANNEL_IPMASQ") ?? "";
  if (agentMasquerades === "") return null;
  if (agentMasquerades === "true" || agentMasquerades === "false") return agentMasquerades === "false";
  throw wrongValue("FLANNEL_IPMASQ", agentMasquerades, "it must be true or false");
}

/** The script evaluates the name as shell code; here it must be a name. */
function variableName(name: string): string {
  if (/^[A-Za-z_][A-Za-z\d_]*$/.test(name)) return name;
  throw new ConfigError(`-k "${name}" is not a name for a shell variable; use letters, digits and _`);
}
