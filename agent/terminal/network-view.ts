/** A network configuration as text for people. Pure. */

import { describedOptions } from "../../backends/registry.ts";
import { ADDRESS_BITS } from "../../ipam/addresses/ip.ts";
import type { FamilyNetwork, NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { formatFields } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** The ranges, how many subnets they hold, and the backend with its options. */
export function formatNetworkConfig(config: NetworkConfig, terminal: Terminal): string {
  const { backend, enableNftables, families } = config;
  const options = Object.entries(withoutSecrets(backend)).map(
    ([key, value]) => `${key} ${JSON.stringify(value)}`,
  );
  return formatFields(
    [
      ...Object.values(families).flatMap(familyFields),
      [
        "backend",
        [backend.isExplicit ? backend.type : `${backend.type} (the default)`, ...options].join(", "),
      ],
      ...(enableNftables ? ([["firewall", "nftables where the host has both"]] as const) : []),
    ],
    terminal,
  );
}

/** The JSON of a configuration without the secrets of its backend. */
export function textWithoutSecrets(text: string): string {
  let config: NetworkConfig;
  try {
    config = parseNetworkConfig(text);
  } catch {
    return withoutNamedSecrets(text);
  }
  // Go, and so the parser, ignores the case of keys.
  const others = Object.entries(JSON.parse(text)).filter(([key]) => key.toLowerCase() !== "backend");
  const { backend } = config;
  return JSON.stringify({
    ...Object.fromEntries(others),
    Backend: { Type: backend.type, ...withoutSecrets(backend) },
  });
}

/** Of a text that may be no JSON. */
function withoutNamedSecrets(text: string): string {
  const keys = [...describedOptions().values()]
    .flat()
    .flatMap(({ key, isSecret }) => (isSecret ? [key] : []));
  const values = new RegExp(`("(?:${keys.join("|")})"\\s*:\\s*)"(?:\\\\.|[^"\\\\])*"?`, "gi");
  return text.replace(values, '$1"(secret)"');
}

/** The backend's options, with a text in place of keys and passwords. */
function withoutSecrets({ type, options }: NetworkConfig["backend"]): JsonObject {
  const descriptions = describedOptions().get(type) ?? [];
  const secrets = new Set(descriptions.flatMap(({ key, isSecret }) => (isSecret ? [key.toLowerCase()] : [])));
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key, secrets.has(key.toLowerCase()) ? "(secret)" : value]),
  );
}

function familyFields({
  network,
  subnetLength,
  subnetMin,
  subnetMax,
}: FamilyNetwork): (readonly [string, string])[] {
  const hostBits = BigInt(ADDRESS_BITS[network.family] - subnetLength);
  const count = ((subnetMax.value - subnetMin.value) >> hostBits) + 1n;
  return [
    ["network", network.toString()],
    ["subnets", `/${subnetLength}, ${count} from ${subnetMin} to ${subnetMax}`],
  ];
}
