/**
 * Where each setting comes from: the command line, else the environment, else the config file, else the
 * default. The result is still text; config.ts reads it.
 *
 * Pure: environment and file content are given.
 */

import { ConfigError } from "../../ipam/errors.ts";
import type { GivenFlags } from "./flag-parser.ts";
import { environmentName, FLAG_NAMES, type FlagName, flagOf } from "./flags.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Kinds of source, from the one that everybody may override to the one that overrides all others. */
const SOURCES = ["default", "file", "foreign variable", "variable", "flag"] as const;

/** What stands behind one setting. */
export interface Setting {
  /** All that was given, in order; a single text but for repeatable flags. */
  readonly texts: readonly string[];
  /** How a person would find it again: `flag -iface`, `FLANNELD_IFACE`, `/etc/tulle.yaml: iface`; `default`. */
  readonly source: string;
  readonly kind: (typeof SOURCES)[number];
}

export type Settings = Readonly<Record<FlagName, Setting>>;

/** The settings of a config file, with the file's name for messages. */
export interface FileSettings {
  readonly path: string;
  readonly texts: GivenFlags;
}

/** Chooses each setting's source. */
export function resolveSettings(
  given: GivenFlags,
  environment: Environment,
  file: FileSettings | null,
): Settings {
  const settings: Partial<Record<FlagName, Setting>> = {};
  for (const name of FLAG_NAMES) settings[name] = resolveOne(name, given, environment, file);
  return settings as Settings;
}

function resolveOne(
  name: FlagName,
  given: GivenFlags,
  environment: Environment,
  file: FileSettings | null,
): Setting {
  const fromFlag = given.get(name);
  if (fromFlag) return { texts: fromFlag, source: `flag -${name}`, kind: "flag" };
  const { alsoEnv = "", default: fallback } = flagOf(name);
  for (const [variable, kind] of [
    [environmentName(name), "variable"],
    [alsoEnv, "foreign variable"],
  ] as const) {
    const value = environment[variable];
    // An empty variable counts as absent, as with flanneld.
    if (value) return { texts: [value], source: variable, kind };
  }
  const fromFile = file?.texts.get(name);
  if (file && fromFile) return { texts: fromFile, source: `${file.path}: ${name}`, kind: "file" };
  return { texts: [fallback], source: "default", kind: "default" };
}

/**
 * True when `name` comes from a source that overrides that of `other`: of two settings that say the same thing in
 * two ways, `name` is the one that counts then.
 */
export function overrides(settings: Settings, name: FlagName, other: FlagName): boolean {
  return SOURCES.indexOf(settings[name].kind) > SOURCES.indexOf(settings[other].kind);
}

/** Variables that look like settings but are none: probably misspelt, worth a warning. */
export function unknownVariables(environment: Environment): readonly string[] {
  const known = new Set(FLAG_NAMES.map(environmentName));
  return Object.keys(environment)
    .filter((variable) => /^(FLANNELD|TULLED)_/.test(variable) && !known.has(variable))
    .sort();
}

/** True when somebody gave the setting. */
export function isGiven(settings: Settings, name: FlagName): boolean {
  return settings[name].kind !== "default";
}

/** An error about one setting: where it stands, its value unless secret, and the remedy. */
export function settingError(settings: Settings, name: FlagName, remedy: string): ConfigError {
  const { texts, source, kind } = settings[name];
  const value = flagOf(name).isSecret ? "(not shown)" : texts.join(" ");
  const place = kind === "default" ? `flag -${name} (default)` : source;
  return new ConfigError(`${place}: "${value}" is wrong: ${remedy}`, { details: { flag: name } });
}
