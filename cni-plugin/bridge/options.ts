/** The options of the bridge plugin, read from a delegate's configuration. No I/O. */

import { type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { parseArguments } from "../arguments.ts";
import { asCniError, CNI_CODES, CniError } from "../errors.ts";
import type { MasqueradeBackend } from "../firewall/masquerade.ts";

export interface BridgeOptions {
  readonly bridge: string;
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
  readonly forceAddress: boolean;
  readonly ipMasq: boolean;
  readonly ipMasqBackend: MasqueradeBackend;
  /** 0 leaves the kernel's default. */
  readonly mtuBytes: number;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  readonly portIsolation: boolean;
  /** Frames with another source address than the container's own are dropped. */
  readonly macSpoofCheck: boolean;
  /** 0 means none. */
  readonly vlan: number;
  /** VLANs that reach the container with their tags. */
  readonly vlanTrunk: readonly number[];
  /** Ports stay in VLAN 1 too. */
  readonly preserveDefaultVlan: boolean;
  /** The container's address; null leaves it to the kernel. */
  readonly mac: Mac | null;
}

const LARGEST_MTU = 65_535;
const LARGEST_VLAN = 4094;
const DEVICE_NAME = /^[^/:\s]{1,15}$/;

/** True when the configuration is for bridge and host-local, which need no program beside this one. */
export function isServedInProcess(delegate: JsonObject): boolean {
  const ipam = delegate.ipam;
  return delegate.type === "bridge" && isJsonObject(ipam) && ipam.type === "host-local";
}

/** True when the configuration asks for rules of the firewall. */
export function usesFirewall({ ipMasq, macspoofchk }: JsonObject): boolean {
  return ipMasq === true || macspoofchk === true;
}

/** True when ports join VLANs. */
export function usesVlans({ vlan, vlanTrunk }: Pick<BridgeOptions, "vlan" | "vlanTrunk">): boolean {
  return vlan !== 0 || vlanTrunk.length > 0;
}

/** Reads the options. Throws CniError 7 that names the key, the value and the remedy. */
export function parseBridgeOptions(delegate: JsonObject, args: string): BridgeOptions {
  const flag = (key: string, fallback = false) => readFlag(delegate, key, fallback);
  const isDefaultGateway = flag("isDefaultGateway");
  const options: BridgeOptions = {
    bridge: readBridgeName(delegate.bridge ?? "cni0"),
    isDefaultGateway,
    isGateway: isDefaultGateway || flag("isGateway"),
    forceAddress: flag("forceAddress"),
    ipMasq: flag("ipMasq"),
    ipMasqBackend: readBackend(delegate.ipMasqBackend ?? ""),
    mtuBytes: readNumber("mtu", delegate.mtu ?? 0, 0, LARGEST_MTU),
    hairpinMode: flag("hairpinMode"),
    promiscMode: flag("promiscMode"),
    portIsolation: flag("portIsolation"),
    macSpoofCheck: flag("macspoofchk"),
    vlan: readNumber("vlan", delegate.vlan ?? 0, 0, LARGEST_VLAN),
    vlanTrunk: readTrunk(delegate.vlanTrunk ?? []),
    preserveDefaultVlan: flag("preserveDefaultVlan", true),
    mac: requestedMac(delegate, args),
  };
  if (options.hairpinMode && options.promiscMode) {
    throw wrong("promiscMode", true, "it excludes hairpinMode: set one of them");
  }
  if (options.vlan !== 0 && options.vlanTrunk.length > 0) {
    throw wrong("vlanTrunk", delegate.vlanTrunk, "it excludes vlan: set one of them");
  }
  if (flag("disableContainerInterface")) {
    throw wrong(
      "disableContainerInterface",
      true,
      "an interface that gets an address must be up: leave it out",
    );
  }
  return options;
}

function readFlag(delegate: JsonObject, key: string, fallback: boolean): boolean {
  const value = delegate[key] ?? fallback;
  if (typeof value === "boolean") return value;
  throw wrong(key, value, "give true or false");
}

function readBackend(value: JsonValue): MasqueradeBackend {
  if (value === "") return null;
  if (value === "nftables" || value === "iptables") return value;
  throw wrong("ipMasqBackend", value, "give nftables or iptables, or leave it out");
}

function readBridgeName(value: JsonValue): string {
  if (typeof value === "string" && DEVICE_NAME.test(value) && value !== "." && value !== "..") return value;
  throw wrong("bridge", value, "give a device name of 1 to 15 characters");
}

function readNumber(key: string, value: JsonValue | undefined, least: number, most: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw wrong(key, value, `give ${least} to ${most}`);
}

/** A list of `{"id": 5}` and `{"minID": 10, "maxID": 20}`. */
function readTrunk(value: JsonValue): readonly number[] {
  if (!Array.isArray(value)) throw wrong("vlanTrunk", value, "give a list");
  const ids = value.flatMap((entry: JsonValue) => {
    if (!isJsonObject(entry)) throw wrong("vlanTrunk", entry, 'give {"id": N} or {"minID": N, "maxID": N}');
    const single = entry.id === undefined ? [] : [readNumber("vlanTrunk.id", entry.id, 1, LARGEST_VLAN)];
    if (entry.minID === undefined && entry.maxID === undefined) return single;
    const least = readNumber("vlanTrunk.minID", entry.minID, 1, LARGEST_VLAN);
    const most = readNumber("vlanTrunk.maxID", entry.maxID, least, LARGEST_VLAN);
    return [...single, ...Array.from({ length: most - least + 1 }, (_, offset) => least + offset)];
  });
  return [...new Set(ids)].sort((left, right) => left - right);
}

/** runtimeConfig wins over `args`, `args` over CNI_ARGS. */
function requestedMac(delegate: JsonObject, args: string): Mac | null {
  const runtime = isJsonObject(delegate.runtimeConfig) ? delegate.runtimeConfig.mac : undefined;
  const outer =
    isJsonObject(delegate.args) && isJsonObject(delegate.args.cni) ? delegate.args.cni.mac : undefined;
  const { mac } = parseArguments(args);
  const text = runtime || outer || mac;
  if (text === "") return null;
  return asCniError(CNI_CODES.invalidConfig, "mac", () => parseMac(String(text)));
}

function wrong(key: string, value: JsonValue | undefined, remedy: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, `${key}: ${JSON.stringify(value)} is wrong; ${remedy}`);
}
