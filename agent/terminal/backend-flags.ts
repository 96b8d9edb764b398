/** The options of all backends as flags of one command: `DirectRouting` is `--direct-routing`. Pure. */

import { Option } from "commander";
import type { OptionDescription } from "../../backends/backend.ts";
import { describedOptions } from "../../backends/registry.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { wholeNumber } from "../network/network-config-text.ts";

export interface BackendFlag {
  readonly key: string;
  readonly kind: OptionDescription["kind"];
  /** Of the backends that have the option. */
  readonly types: readonly string[];
  readonly option: Option;
}

/** One flag for all backends that have an option of the same name, in the order of the backends. */
export function backendFlags(): readonly BackendFlag[] {
  const uses = new Map<string, { readonly type: string; readonly description: OptionDescription }[]>();
  for (const [type, descriptions] of describedOptions()) {
    for (const description of descriptions) {
      const { key } = description;
      uses.set(key, [...(uses.get(key) ?? []), { type, description }]);
    }
  }
  return [...uses].map(([key, users]) => {
    const kinds = new Set(users.map(({ description }) => description.kind));
    const [kind] = kinds;
    if (kind === undefined || kinds.size > 1) throw new Error(`backends disagree on the kind of ${key}`);
    const value = kind === "switch" ? "" : ` <${kind}>`;
    const option = new Option(`${flagOf(key)}${value}`, helpOf(users));
    return { key, kind, types: users.map(({ type }) => type), option };
  });
}

/** The options for the backend, under flannel's names. `given` is by the flags' attributes. Throws ConfigError. */
export function givenOptions(
  flags: readonly BackendFlag[],
  type: string,
  given: ReadonlyMap<string, string | true>,
): JsonObject {
  const options: Record<string, JsonValue> = {};
  for (const { key, kind, types, option } of flags) {
    const value = given.get(option.attributeName());
    if (value === undefined) continue;
    const flag = flagOf(key);
    if (!types.includes(type))
      throw new ConfigError(`${flag} is an option of ${types.join(", ")}, not of ${type}; leave it out`);
    options[key] = kind === "number" && value !== true ? (wholeNumber(flag, value) ?? value) : value;
  }
  return options;
}

function flagOf(key: string): string {
  return `--${key.replace(/(?<=[a-z\d])(?=[A-Z])/g, "-").toLowerCase()}`;
}

/** Backends with the same words share them. */
function helpOf(
  users: readonly { readonly type: string; readonly description: OptionDescription }[],
): string {
  const types = new Map<string, string[]>();
  for (const { type, description } of users)
    types.set(description.help, [...(types.get(description.help) ?? []), type]);
  return [...types].map(([help, names]) => `${names.join(", ")}: ${help}`).join("; ");
}
