/** The bridge plugin's options that are served in process. No I/O. */

import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { type Mac, parseMac } from "../../ipam/mac.ts";
import { asCniError, CNI_CODES, CniError } from "../errors.ts";
import { readArgument } from "../ipam/ranges.ts";

export interface BridgeOptions {
  readonly bridge: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  /** 0 leaves the kernel's default. */
  readonly mtuBytes: number;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  readonly portIsolation: boolean;
  readonly mac: Mac | null;
}

/** Options that only the bridge plugin beside us serves: with one of them the work is delegated to it. */
const DELEGATED = ["ipMasq", "macspoofchk", "vlan", "vlanTrunk", "disableContainerInterface"];

/** True when the configuration can be served without another program. */
export function isServedInProcess(delegate: JsonObject): boolean {
  const ipam = delegate.ipam;
  const usesOurs = isJsonObject(ipam) && ipam.type === "host-local" && ipam.resolvConf === undefined;
  return delegate.type === "bridge" && usesOurs && !DELEGATED.some((key) => Boolean(delegate[key]));
}

/** Reads the options. Throws CniError 7 that names the key. */
export function parseBridgeOptions(delegate: JsonObject, args: string): BridgeOptions {
  const isDefaultGateway = flag(delegate, "isDefaultGateway");
  const options = {
    bridge: bridgeName(delegate),
    isDefaultGateway,
    isGateway: isDefaultGateway || flag(delegate, "isGateway"),
    forceAddress: flag(delegate, "forceAddress"),
    mtuBytes: mtu(delegate),
    hairpinMode: flag(delegate, "hairpinMode"),
    promiscMode: flag(delegate, "promiscMode"),
    portIsolation: flag(delegate, "portIsolation"),
    mac: requestedMac(delegate, args),
  };
  if (options.hairpinMode && options.promiscMode) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      "hairpinMode and promiscMode exclude each other; set one of them",
    );
  }
  return options;
}

function flag(delegate: JsonObject, key: string): boolean {
  const value = delegate[key] ?? false;
  if (typeof value === "boolean") return value;
  throw new CniError(
    CNI_CODES.invalidConfig,
    `${key}: ${JSON.stringify(value)} is wrong; give true or false`,
  );
}

function bridgeName(delegate: JsonObject): string {
  const value = delegate.bridge ?? "cni0";
  if (typeof value === "string" && /^[^/:\s]{1,15}$/.test(value)) return value;
  throw new CniError(
    CNI_CODES.invalidConfig,
    `bridge: ${JSON.stringify(value)} is wrong; give a device name`,
  );
}

function mtu(delegate: JsonObject): number {
  const value = delegate.mtu ?? 0;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new CniError(CNI_CODES.invalidConfig, `mtu: ${JSON.stringify(value)} is wrong; give 0 to 65535`);
}

/** runtimeConfig wins over `args`, `args` over CNI_ARGS. */
function requestedMac(delegate: JsonObject, args: string): Mac | null {
  const runtime = isJsonObject(delegate.runtimeConfig) ? delegate.runtimeConfig.mac : undefined;
  const outer =
    isJsonObject(delegate.args) && isJsonObject(delegate.args.cni) ? delegate.args.cni.mac : undefined;
  const text = runtime ?? outer ?? readArgument(args, "MAC");
  if (text === undefined || text === "") return null;
  return asCniError(CNI_CODES.invalidConfig, "mac", () => parseMac(String(text)));
}
