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

/** Kinds of source, each overriding those before it. */
const SOURCES = ["default", "file", "foreign variable", "variable", "flag"] as const;

/** The texts of one setting and their source. */
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
  const { alsoEnv = "", default: fallback, kind: values } = flagOf(name);
  const fromFlag = given.get(name);
  if (fromFlag) {
    // Of a flag that takes one value the last counts, and errors are to show that alone.
    const texts = values.isRepeatable ? fromFlag : fromFlag.slice(-1);
    return { texts, source: `flag -${name}`, kind: "flag" };
  }
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
 * True when `name` comes from a source that overrides that of `other`: of two settings with one meaning, `name` is
 * then the one in force.
 */
export function overrides(settings: Settings, name: FlagName, other: FlagName): boolean {
  return SOURCES.indexOf(settings[name].kind) > SOURCES.indexOf(settings[other].kind);
}

/** Variables of settings that are set to nothing, in the order of the flags. */
export function emptyVariables(environment: Environment): readonly string[] {
  return FLAG_NAMES.map(environmentName).filter((variable) => environment[variable] === "");
}

/** The flags of tulled.service, which systemd passes as words and as a variable (systemd.exec(5), EnvironmentFile=). */
const UNIT_OPTIONS = "TULLED_OPTIONS";

/** Variables that look like settings of this program but are unknown: probably misspelt. */
export function unknownVariables(environment: Environment): readonly string[] {
  const known = new Set([...FLAG_NAMES.map(environmentName), UNIT_OPTIONS]);
  return Object.keys(environment)
    .filter((variable) => /^(FLANNELD|TULLED)_/.test(variable) && !known.has(variable))
    .sort();
}

/** True unless the setting has its default. */
export function isGiven(settings: Settings, name: FlagName): boolean {
  return settings[name].kind !== "default";
}

/** An error about one setting: its source, its value unless secret, and the remedy. */
export function settingError(settings: Settings, name: FlagName, remedy: string): ConfigError {
  const { texts, source, kind } = settings[name];
  const value = flagOf(name).isSecret ? "(not shown)" : texts.join(" ");
  const place = kind === "default" ? `flag -${name} (default)` : source;
  return new ConfigError(`${place}: "${value}" is wrong: ${remedy}`, { details: { flag: name } });
}
