/** A request of the runtime: the verb, its environment and the configuration, validated as libcni does. No I/O. */

import { isJsonObject, type JsonObject, parseJson } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "./errors.ts";
import { withKnownNames } from "./spelling.ts";
import { type CniVersion, isAtLeast, parseVersion, requireVersionForm } from "./version.ts";

export const VERBS = ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"] as const;
export type Verb = (typeof VERBS)[number];

/** Who asks for attachments: a CNI runtime, or podman by netavark. */
export const RUNTIMES = ["cni", "netavark"] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** The input of a verb. Absent variables are empty. */
export interface Call {
  readonly verb: Verb;
  readonly containerId: string;
  readonly netnsPath: string;
  readonly interfaceName: string;
  /** Each runtime's attachments have records of their own. Default cni. */
  readonly runtime?: Runtime;
  /** CNI_ARGS, `K=V;K=V`. */
  readonly args: string;
  /** Folders of CNI_PATH. */
  readonly pluginDirs: readonly string[];
  /** All variables, for the programs that do part of the work. */
  readonly environment: Environment;
  /** Writes a line for people to stderr. */
  readonly warn: (text: string) => void;
  readonly networkName: string;
  readonly version: CniVersion;
  readonly config: JsonObject;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that each verb needs, in the order in which missing ones are named. */
const REQUIRED: Readonly<Record<Verb, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
  VERSION: [],
};

/** The oldest configuration that knows the verb. */
const SINCE: Readonly<Partial<Record<Verb, CniVersion>>> = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };

/** Container ids and network names: never a path. */
export const IDENTIFIER = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Linux: IFNAMSIZ is 16 with the NUL. */
const MAX_INTERFACE_NAME_LENGTH = 15;

/** The verb, with all it needs present. Throws CniError 4. */
export function parseVerb(environment: Environment): Verb {
  const text = environment.CNI_COMMAND ?? "";
  const verb = VERBS.find((known) => known === text);
  if (verb === undefined) throw badEnvironment(`unknown CNI_COMMAND: ${text}`);
  const missing = REQUIRED[verb].filter((name) => !environment[name]);
  if (missing.length > 0) throw badEnvironment(`required env variables [${missing.join(",")}] missing`);
  return verb;
}

/** The complete request of a verb other than VERSION. Throws CniError 1, 4, 6 or 7. */
export function parseCall(
  verb: Verb,
  environment: Environment,
  stdin: string,
  warn: (text: string) => void,
): Call {
  const config = parseConfigText(stdin);
  if (SINCE[verb] !== undefined) requireVersionForm(config.cniVersion);
  const call: Call = {
    verb,
    containerId: environment.CNI_CONTAINERID ?? "",
    netnsPath: environment.CNI_NETNS ?? "",
    interfaceName: environment.CNI_IFNAME ?? "",
    args: environment.CNI_ARGS ?? "",
    pluginDirs: (environment.CNI_PATH ?? "").split(":").filter((dir) => dir !== ""),
    environment,
    warn,
    networkName: parseNetworkName(config.name),
    version: parseVersion(config.cniVersion),
    config,
  };
  if (REQUIRED[verb].includes("CNI_CONTAINERID")) {
    requireContainerId(call.containerId);
    requireInterfaceName(call.interfaceName);
  }
  return call;
}

/** Rejects a verb that the configuration's version does not know yet. Throws CniError 1. */
export function requireVerbAllowed({ verb, version }: Call): void {
  const since = SINCE[verb];
  if (since === undefined || isAtLeast(version, since)) return;
  throw new CniError(CNI_CODES.incompatibleVersion, `config version does not allow ${verb}`);
}

function parseConfigText(text: string): JsonObject {
  let config: unknown;
  try {
    config = parseJson(text);
  } catch (cause) {
    throw new CniError(
      CNI_CODES.decodingFailure,
      "the network configuration on stdin is not JSON",
      String(cause),
      { cause },
    );
  }
  if (isJsonObject(config)) return withKnownNames(config);
  throw new CniError(CNI_CODES.decodingFailure, "the network configuration on stdin is not a JSON object");
}

/** Throws CniError 7. */
export function parseNetworkName(name: unknown): string {
  if (name === undefined || name === null || name === "") {
    throw new CniError(CNI_CODES.invalidConfig, "missing network name");
  }
  if (typeof name === "string" && IDENTIFIER.test(name)) return name;
  throw new CniError(
    CNI_CODES.invalidConfig,
    "invalid characters found in network name",
    JSON.stringify(name),
  );
}

/** Throws CniError 4. */
export function requireContainerId(id: string): void {
  if (!IDENTIFIER.test(id)) throw badEnvironment("invalid characters in containerID", id);
}

/** Throws CniError 4. */
export function requireInterfaceName(name: string): void {
  if (name === "") throw badEnvironment("interface name is empty");
  if (Buffer.byteLength(name) > MAX_INTERFACE_NAME_LENGTH) {
    throw badEnvironment("interface name is too long", "interface name should be less than 16 characters");
  }
  if (name === "." || name === "..") throw badEnvironment("interface name is . or ..");
  if (/[/:\s]/.test(name)) {
    throw badEnvironment("interface name contains / or : or whitespace characters");
  }
}

function badEnvironment(message: string, explanation = ""): CniError {
  return new CniError(CNI_CODES.badEnvironment, message, explanation);
}
