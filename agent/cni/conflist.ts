/** The network configuration that `tulle cni install` writes: flannel's, with hairpin, default route and a chain. No I/O. */

import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";

export interface Conflist {
  /** The network's name. */
  readonly network: string;
  /** The plugin's file name, which is its `type`. */
  readonly name: string;
  /** Types of the plugins behind it, in their order. */
  readonly chained: readonly string[];
}

/** Versions of the specification that a runtime may choose from, the oldest first. */
export const CNI_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** What a runtime must be told that it may hand on (CONVENTIONS.md of the CNI specification). */
const CAPABILITIES: Readonly<Record<string, JsonObject>> = {
  portmap: { portMappings: true },
  bandwidth: { bandwidth: true },
};

/** The file's text. A runtime takes the newest of `versions` for the whole chain, so all its plugins must know them. */
export function formatConflist({ network, name, chained }: Conflist, versions: readonly string[]): string {
  const links = chained.map((type) => {
    const capabilities = CAPABILITIES[type];
    return { type, ...(capabilities !== undefined && { capabilities }) };
  });
  const conflist = {
    name: network,
    cniVersion: "1.0.0",
    cniVersions: versions,
    plugins: [{ type: name, delegate: { hairpinMode: true, isDefaultGateway: true } }, ...links],
  };
  return `${JSON.stringify(conflist, null, 2)}\n`;
}

/** True for a text as formatConflist writes it, whatever it was asked for, and for no other. */
export function isUnchanged(text: string): boolean {
  const written = parse(text);
  return written !== null && formatConflist(written, written.versions) === text;
}

function parse(text: string): (Conflist & { readonly versions: readonly string[] }) | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
  if (!isJsonObject(value) || !Array.isArray(value.plugins)) return null;
  const [name, ...chained] = value.plugins.map((plugin: JsonValue) =>
    isJsonObject(plugin) && typeof plugin.type === "string" ? plugin.type : "",
  );
  if (typeof value.name !== "string" || name === undefined || !Array.isArray(value.cniVersions)) return null;
  return { network: value.name, name, chained, versions: value.cniVersions.map(String) };
}
