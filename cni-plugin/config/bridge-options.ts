/** The options of the bridge plugin, read from a delegate's configuration. No I/O. */

import type {
  BridgeSpec,
  MasqueradeEngine,
  PortSpec,
  RuleSpec,
  VlanSpec,
} from "../../backends/attachment/spec.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import { isInterfaceMac, type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { parseArguments } from "../protocol/arguments.ts";
import { asCniError, CNI_CODES, type CniError } from "../protocol/errors.ts";
import { wrong } from "./wrong.ts";

export interface BridgeOptions {
  /** 0 leaves the kernel's default. */
  readonly mtuBytes: number;
  readonly bridge: BridgeSpec;
  readonly port: Omit<PortSpec, "name">;
  readonly rules: RuleSpec;
  /** The container's hardware address; null for a random one. */
  readonly mac: Mac | null;
  /** Containers get a default route by the gateway. */
  readonly isDefaultGateway: boolean;
}

const LARGEST_MTU = 65_535;
const LARGEST_VLAN = 4094;
/** In the name of a new device the kernel fills in a number for %d, and rejects any other % (net/core/dev.c). */
const DEVICE_NAME = /^[^/:%\s]+$/;
/** Linux: IFNAMSIZ is 16 with the NUL. */
const LONGEST_NAME_BYTES = 15;

/**
 * Reads the options. `inside` is the overlay: what goes there is never masqueraded. Throws CniError 7 that names the key, the
 * value and the remedy.
 */
export function parseBridgeOptions(
  delegate: JsonObject,
  args: string,
  inside: readonly Prefix[] = [],
): BridgeOptions {
  const flag = (key: string, fallback = false) => readFlag(delegate, key, fallback);
  const isDefaultGateway = flag("isDefaultGateway");
  const isGateway = isDefaultGateway || flag("isGateway");
  const isHairpin = flag("hairpinMode");
  const isPromiscuous = flag("promiscMode");
  const engine = readEngine(delegate.ipMasqBackend ?? "");
  if (isHairpin && isPromiscuous) {
    throw wrong("promiscMode", true, "it excludes hairpinMode: set one of them");
  }
  if (flag("disableContainerInterface")) {
    throw wrong(
      "disableContainerInterface",
      true,
      "an interface that gets an address must be up: leave it out",
    );
  }
  return {
    mtuBytes: readNumber("mtu", delegate.mtu ?? 0, 0, LARGEST_MTU),
    bridge: {
      name: readBridgeName(delegate.bridge ?? "cni0"),
      isPromiscuous,
      gateway: isGateway ? { force: flag("forceAddress"), network: inside } : null,
    },
    port: { isHairpin, isIsolated: flag("portIsolation"), vlans: readVlans(delegate) },
    rules: {
      masquerade: flag("ipMasq") ? { engine, inside } : null,
      guardsSource: flag("macspoofchk"),
    },
    mac: requestedMac(delegate, args),
    isDefaultGateway,
  };
}

/** Reads the rules that ADD made, in a record that may be damaged: what is not understood counts as not given. */
export function readRules({ ipMasq, ipMasqBackend, macspoofchk }: JsonObject): RuleSpec {
  const engine = ipMasqBackend === "nftables" || ipMasqBackend === "iptables" ? ipMasqBackend : null;
  return { masquerade: ipMasq === true ? { engine, inside: [] } : null, guardsSource: macspoofchk === true };
}

function readFlag(delegate: JsonObject, key: string, fallback: boolean): boolean {
  const value = delegate[key] ?? fallback;
  if (typeof value === "boolean") return value;
  throw wrong(key, value, "give true or false");
}

function readEngine(value: JsonValue): MasqueradeEngine {
  if (value === "") return null;
  if (value === "nftables" || value === "iptables") return value;
  throw wrong("ipMasqBackend", value, "give nftables or iptables, or leave it out");
}

function readBridgeName(value: JsonValue): string {
  const isName = typeof value === "string" && DEVICE_NAME.test(value) && ![".", ".."].includes(value);
  if (isName && Buffer.byteLength(value) <= LONGEST_NAME_BYTES) return value;
  throw wrong("bridge", value, `give a device name of 1 to ${LONGEST_NAME_BYTES} characters, without %`);
}

function readNumber(key: string, value: JsonValue | undefined, least: number, most: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw wrong(key, value, `give ${least} to ${most}`);
}

function readVlans(delegate: JsonObject): VlanSpec {
  const untagged = readNumber("vlan", delegate.vlan ?? 0, 0, LARGEST_VLAN);
  const tagged = readTrunk(delegate.vlanTrunk ?? []);
  if (untagged !== 0 && tagged.length > 0) {
    throw wrong("vlanTrunk", delegate.vlanTrunk, "it excludes vlan: set one of them");
  }
  return { untagged, tagged, keepsDefault: readFlag(delegate, "preserveDefaultVlan", true) };
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
  const text = runtime || outer || parseArguments(args).mac;
  if (text === "") return null;
  const mac = asCniError(CNI_CODES.invalidConfig, "mac", () => parseMac(String(text)));
  if (isInterfaceMac(mac)) return mac;
  throw wrongMac(mac);
}

function wrongMac(mac: Mac): CniError {
  const kind = mac === "00:00:00:00:00:00" ? "no interface can have it" : "it is a group address";
  return wrong("mac", mac, `${kind}: give a unicast address, such as one that begins with 02`);
}
