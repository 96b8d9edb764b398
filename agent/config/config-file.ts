/**
 * Reads `--config FILE`: YAML or JSON whose keys are the flags' names.
 *
 * Returns the values as text, as from a command line; config.ts parses them. The YAML parser is loaded only when
 * there is a file.
 */

import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { readRequiredFile } from "../../ipam/files/read.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { closest } from "./closest.ts";
import { FLAG_NAMES, type FlagName, flagOf, isFlagName } from "./flags.ts";
import type { FileSettings } from "./settings.ts";

/** Reads and parses the file. Throws ConfigError that names the file and the key. */
export async function readConfigFile(path: string): Promise<FileSettings> {
  return { path, texts: settingsOf(await parseText(readText(path), path), path) };
}

function readText(path: string): string {
  try {
    return readRequiredFile(path);
  } catch (error) {
    throw new ConfigError(`config file ${path} cannot be read: ${errorMessage(error)}`, { cause: error });
  }
}

async function parseText(text: string, path: string): Promise<unknown> {
  const { parse } = await import("yaml");
  try {
    // Values stay text: parsed as numbers, 00123 and 1e5 would be other passwords.
    return parse(text, { schema: "failsafe", customTags: ["null"] });
  } catch (error) {
    // The first line says what and where; the others show the text again.
    const [problem = ""] = errorMessage(error).split(":\n");
    throw new ConfigError(`config file ${path} is neither YAML nor JSON: ${problem}`, { cause: error });
  }
}

function settingsOf(document: unknown, path: string): Map<FlagName, readonly string[]> {
  const settings = new Map<FlagName, readonly string[]>();
  if (document === null) return settings;
  if (!isJsonObject(document)) {
    throw new ConfigError(`config file ${path} must hold settings as "name: value" lines`);
  }
  for (const [key, value] of Object.entries(document)) {
    const name = fileKey(key, path);
    settings.set(name, textsOf(name, value, path));
  }
  return settings;
}

function fileKey(key: string, path: string): FlagName {
  if (isFlagName(key)) {
    if (flagOf(key).isInFile ?? true) return key;
    throw new ConfigError(`config file ${path}: ${key} can only be given on the command line`);
  }
  const near = closest(key, FLAG_NAMES);
  const hint = near === null ? "see tulled --help for all names" : `did you mean ${near}?`;
  throw new ConfigError(`config file ${path}: unknown setting "${key}": ${hint}`);
}

/** A list is several occurrences of a repeatable flag, and a comma-separated value of any other. */
function textsOf(name: FlagName, value: unknown, path: string): readonly string[] {
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => scalarText(name, item, path));
    return flagOf(name).kind.isRepeatable ? items : [items.join(",")];
  }
  return [scalarText(name, value, path)];
}

function scalarText(name: FlagName, value: unknown, path: string): string {
  if (value === null) return "";
  if (typeof value === "string") return value;
  throw new ConfigError(`config file ${path}: ${name} must be a single value or a list of them`);
}
