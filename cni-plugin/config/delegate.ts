/** flannel's contract: from the plugin's configuration and subnet.env to the configuration of bridge and host-local. No I/O. */

import { entriesOf, Prefix } from "../../ipam/addresses/ip.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { wrong } from "./wrong.ts";

export interface PluginPaths {
  readonly subnetFile: string;
  readonly stateDir: string;
}

/** Where subnet.env and our state are. Throws CniError 7. */
export function parsePaths(config: JsonObject): PluginPaths {
  return {
    subnetFile: textOr(config, "subnetFile", DEFAULT_PATHS.subnetFile),
    stateDir: textOr(config, "dataDir", DEFAULT_PATHS.stateDir),
  };
}

/** The configuration to attach with, defaults filled as flannel fills them. Throws CniError 7. */
export function deriveDelegate(config: JsonObject, env: SubnetEnv): JsonObject {
  requireObjects(config);
  const given = config.delegate ?? {};
  if (!isJsonObject(given)) throw wrong("delegate", given, "give it as an object");
  for (const key of ["name", "ipam"]) {
    if (key in given) throw wrong(`delegate.${key}`, given[key], "leave it out, it is derived");
  }
  const type = given.type ?? "bridge";
  if (typeof type !== "string") throw wrong("delegate.type", type, "give a plugin's name");
  return {
    ipMasq: !env.ipMasq,
    mtu: env.mtuBytes,
    ...(type === "bridge" && { isGateway: true }),
    ...given,
    type,
    name: config.name ?? "",
    ...(config.cniVersion !== undefined && { cniVersion: config.cniVersion }),
    ...(config.runtimeConfig !== undefined && { runtimeConfig: config.runtimeConfig }),
    ...(config.args !== undefined && { args: config.args }),
    ipam: deriveIpam(config, env),
  };
}

/** The configuration for DEL without a record and without subnet.env: the type and the folder, if they can be read. */
export function guessDelegate(config: JsonObject): JsonObject {
  const given = isJsonObject(config.delegate) ? config.delegate : {};
  const ipam = isJsonObject(config.ipam) ? config.ipam : {};
  return {
    ...given,
    type: typeof given.type === "string" ? given.type : "bridge",
    name: config.name ?? "",
    ...(config.cniVersion !== undefined && { cniVersion: config.cniVersion }),
    ipam: { type: "host-local", ...ipam },
  };
}

function deriveIpam(config: JsonObject, env: SubnetEnv): JsonObject {
  const given = config.ipam ?? {};
  if (!isJsonObject(given)) throw wrong("ipam", given, "give it as an object");
  const type = given.type ?? "host-local";
  if (typeof type !== "string") throw wrong("ipam.type", type, "give a plugin's name");
  const routes = given.routes ?? [];
  if (!Array.isArray(routes)) throw wrong("ipam.routes", routes, "give it as a list");
  const networks = [...entriesOf(env.networks)].flatMap(([, prefixes]) => prefixes.map(String));
  const ranges = [...entriesOf(env.subnets)].map(([, { address, length }]) => [
    { subnet: String(Prefix.of(address, length)) },
  ]);
  return {
    ...given,
    type,
    ranges,
    routes: [...routes, ...[...new Set(networks)].map((dst) => ({ dst }))],
  };
}

/** The format is checked even of what some delegates pass on unread. */
function requireObjects(config: JsonObject): void {
  for (const key of ["runtimeConfig", "args", "dns", "prevResult"]) {
    const value = config[key] ?? {};
    if (!isJsonObject(value)) throw wrong(key, value, "give it as an object");
  }
}

function textOr(config: JsonObject, key: string, fallback: string): string {
  const value = config[key] ?? "";
  if (typeof value !== "string") throw wrong(key, value, "give a path");
  return value === "" ? fallback : value;
}
