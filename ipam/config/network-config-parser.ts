/**
 * Reads and checks the text of the network configuration with flannel's defaults (its configuration.md).
 *
 * Pure. backends/ checks whether a backend of that type exists, and its options.
 */

import { ADDRESS_BITS, Address, type Family, Prefix } from "../addresses/ip.ts";
import { ConfigError, errorMessage } from "../errors.ts";
import { lookupField } from "../go-json.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../json.ts";
import { type FamilyNetwork, type NetworkConfig, shortestSubnet } from "./network-config.ts";

/** Names and limits that differ between the families. */
interface FamilyRules {
  readonly enabledKey: string;
  readonly enabledByDefault: boolean;
  readonly networkKey: string;
  readonly keyPrefix: string;
  readonly longestSubnet: number;
  /** This network, loopback, multicast (RFC 6890, RFC 4291): no container can be addressed there. */
  readonly specialRanges: readonly string[];
  /** Used where the network has room for at least four of them. */
  readonly usualSubnet: number;
}

const RULES: Record<Family, FamilyRules> = {
  4: {
    enabledKey: "EnableIPv4",
    enabledByDefault: true,
    networkKey: "Network",
    keyPrefix: "",
    longestSubnet: 30,
    specialRanges: ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4"],
    usualSubnet: 24,
  },
  6: {
    enabledKey: "EnableIPv6",
    enabledByDefault: false,
    networkKey: "IPv6Network",
    keyPrefix: "IPv6",
    longestSubnet: 126,
    specialRanges: ["::/127", "fe80::/10", "ff00::/8"],
    usualSubnet: 64,
  },
};

/** The keys that have a meaning, in the spelling of flannel's documentation. */
export const CONFIG_KEYS: readonly string[] = [
  ...Object.values(RULES).flatMap(({ enabledKey, networkKey, keyPrefix }) => [
    enabledKey,
    networkKey,
    ...["SubnetLen", "SubnetMin", "SubnetMax"].map((name) => keyPrefix + name),
  ]),
  "EnableNFTables",
  "Backend",
];

/** Parses flannel's network configuration; host bits of networks are cleared. Throws ConfigError. */
export function parseNetworkConfig(text: string): NetworkConfig {
  const root = parseObject(text);
  const families: Partial<Record<Family, FamilyNetwork>> = {};
  for (const family of [4, 6] as const) {
    const rules = RULES[family];
    if (booleanField(root, rules.enabledKey, rules.enabledByDefault)) {
      families[family] = familyNetwork(root, family, rules);
    } else {
      rejectMisplacedLength(root, rules);
    }
  }
  if (families[4] === undefined && families[6] === undefined) {
    throw invalid("EnableIPv4", false, "enable EnableIPv4 or EnableIPv6");
  }
  const enableNftables = booleanField(root, "EnableNFTables", false);
  return { families, enableNftables, backend: backendOf(root), text };
}

function parseObject(text: string): JsonObject {
  let root: unknown;
  try {
    root = parseJson(text);
  } catch (error) {
    throw new ConfigError(
      `network config ${excerpt(text) || '""'} is not JSON (${errorMessage(error).slice(0, 80)}); write an object such as {"Network":"10.2.0.0/16"}`,
      { cause: error },
    );
  }
  if (isJsonObject(root)) return root as JsonObject;
  throw new ConfigError(
    `network config ${excerpt(text)} is not a JSON object; write one such as {"Network":"10.2.0.0/16"}`,
  );
}

function familyNetwork(root: JsonObject, family: Family, rules: FamilyRules): FamilyNetwork {
  const network = networkField(root, family, rules.networkKey);
  const subnetLength = subnetLengthOf(root, network, rules);
  const step = 1n << BigInt(ADDRESS_BITS[family] - subnetLength);
  const bound = (name: string, fallback: Address): Address =>
    boundField(root, rules.keyPrefix + name, fallback, network, subnetLength);
  const subnetMin = bound("SubnetMin", network.base.plus(step));
  const subnetMax = bound("SubnetMax", network.last.plus(1n - step));
  if (subnetMin.value > subnetMax.value) {
    const key = `${rules.keyPrefix}SubnetMin`;
    throw invalid(key, subnetMin.toString(), `write an address not above SubnetMax ${subnetMax}`);
  }
  return { network, subnetLength, subnetMin, subnetMax };
}

/** What a family that is off would have is ignored, unless only the other family can be meant. */
function rejectMisplacedLength(
  root: JsonObject,
  { keyPrefix, enabledKey, longestSubnet }: FamilyRules,
): void {
  const key = `${keyPrefix}SubnetLen`;
  const value = lookupField(root, key);
  if (typeof value !== "number" || value <= longestSubnet) return;
  const other = Object.values(RULES).find((rules) => rules.keyPrefix !== keyPrefix)?.keyPrefix;
  throw invalid(key, value, `${enabledKey} is false: write ${other}SubnetLen`);
}

function networkField(root: JsonObject, family: Family, key: string): Prefix {
  const text = stringField(root, key);
  const remedy = `write an IPv${family} network as address/length`;
  if (text === undefined || text === "") throw invalid(key, text ?? null, remedy);
  const network = attempt(() => Prefix.parse(text), key, text, remedy);
  if (network.family !== family) throw invalid(key, text, remedy);
  const special = RULES[family].specialRanges.map((range) => Prefix.parse(range));
  if (special.some((range) => network.overlaps(range))) {
    throw invalid(key, text, `choose a range without ${special.join(", ")}, where no host can be`);
  }
  return network;
}

function subnetLengthOf(root: JsonObject, network: Prefix, rules: FamilyRules): number {
  const key = `${rules.keyPrefix}SubnetLen`;
  const shortest = shortestSubnet(network);
  if (shortest > rules.longestSubnet) {
    throw invalid(rules.networkKey, network.toString(), `use a length of ${rules.longestSubnet - 2} or less`);
  }
  const value = lookupField(root, key) ?? 0;
  if (value === 0) return Math.max(rules.usualSubnet, shortest);
  if (
    typeof value !== "number" ||
    !Number.isInteger(value) ||
    value < shortest ||
    value > rules.longestSubnet
  ) {
    throw invalid(key, value, `write a whole number from ${shortest} to ${rules.longestSubnet}`);
  }
  return value;
}

function boundField(
  root: JsonObject,
  key: string,
  fallback: Address,
  network: Prefix,
  subnetLength: number,
): Address {
  const text = stringField(root, key);
  if (text === undefined || text === "") return fallback;
  const remedy = `write the first address of a /${subnetLength} inside ${network}`;
  const address = attempt(() => Address.parse(text), key, text, remedy);
  if (!network.contains(address) || !Prefix.of(address, subnetLength).base.equals(address)) {
    throw invalid(key, text, remedy);
  }
  return address;
}

function backendOf(root: JsonObject): NetworkConfig["backend"] {
  const raw = lookupField(root, "Backend");
  if (raw === undefined) return { type: "vxlan", isExplicit: false, options: {} };
  if (!isJsonObject(raw)) throw invalid("Backend", raw, 'write an object such as {"Type":"vxlan"}');
  const type = stringField(raw, "Type", "Backend.Type")?.toLowerCase() ?? "";
  if (type === "") throw invalid("Backend.Type", type, "name a backend, for example vxlan");
  const options = Object.fromEntries(Object.entries(raw).filter(([key]) => key.toLowerCase() !== "type"));
  return { type, isExplicit: true, options };
}

function booleanField(root: JsonObject, key: string, fallback: boolean): boolean {
  const value = lookupField(root, key) ?? fallback;
  if (typeof value !== "boolean") throw invalid(key, value, "write true or false");
  return value;
}

function stringField(object: JsonObject, key: string, shownKey = key): string | undefined {
  const value = lookupField(object, key);
  if (value !== undefined && typeof value !== "string")
    throw invalid(shownKey, value, "write a text in quotes");
  return value;
}

function attempt<T>(read: () => T, key: string, value: string, remedy: string): T {
  try {
    return read();
  } catch (error) {
    throw invalid(key, value, remedy, error);
  }
}

function invalid(key: string, value: JsonValue, remedy: string, cause?: unknown): ConfigError {
  const shown = value === null ? "missing" : excerpt(JSON.stringify(value));
  return new ConfigError(`network config: ${key} is ${shown}; ${remedy}`, { details: { key, value }, cause });
}

function excerpt(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}
