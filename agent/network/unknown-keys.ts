/**
 * Keys of a network configuration that no agent reads. Agents ignore them, as flannel does, so that a misspelt one has no effect:
 * the command line warns of it. Pure.
 */

import { describedOptions } from "../../backends/registry.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { CONFIG_KEYS } from "../../ipam/config/network-config-parser.ts";
import { type JsonObject, parseJson } from "../../ipam/json.ts";
import { closest } from "../config/closest.ts";

/** One sentence for each unknown key of a valid configuration. Text from the store, not escaped. */
export function unknownKeys({ text, backend }: NetworkConfig): readonly string[] {
  const options = describedOptions().get(backend.type);
  return [
    ...unknownIn(parseJson(text) as JsonObject, CONFIG_KEYS, ""),
    // Of a type without a backend here nothing is known.
    ...(options === undefined
      ? []
      : unknownIn(
          backend.options,
          options.map(({ key }) => key),
          "Backend.",
        )),
  ];
}

/** Names of keys may be in any case (encoding/json of Go). */
function unknownIn(object: JsonObject, known: readonly string[], prefix: string): readonly string[] {
  const names = new Set(known.map((key) => key.toLowerCase()));
  return Object.keys(object)
    .filter((key) => !names.has(key.toLowerCase()))
    .map((key) => {
      const near = closest(key, known);
      const meant = near === null ? "" : `; did you mean ${prefix}${near}?`;
      return `${prefix}${key} is unknown, and ignored by all agents${meant}`;
    });
}
