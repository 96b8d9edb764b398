/**
 * The command with which the init system starts dockerd, with the arguments that variables bring. Reads files;
 * decides nothing.
 */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { expandWord, splitWords, variableIn, type Word } from "./command-line.ts";
import { readText } from "./file-change.ts";
import { type Assignment, parseEnvironmentFile, parseUnit, type UnitText } from "./unit-file.ts";

/** One argument of dockerd. */
export interface Argument {
  readonly text: string;
  /** The word of ExecStart that brings it. */
  readonly wordIndex: number;
  /** The variable and its file, as in `DOCKER_OPTS in /etc/default/docker`; null for a word of the command itself. */
  readonly variable: string | null;
}

export interface ServiceCommand {
  /** As in "docker.service gives …". */
  readonly name: string;
  /** ExecStart as written; empty where a script starts dockerd. */
  readonly words: readonly Word[];
  /** Path of the program. */
  readonly program: string;
  /** What the program gets, without its name. */
  readonly arguments: readonly Argument[];
  /** Why the command cannot carry our options; null when it can. */
  readonly obstacle: string | null;
}

/** The drop-in that `tulle docker setup` writes; not part of the command that it changes. */
export const DROP_IN = "50-tulle.conf";

/** Where systemd looks for units behind the administrator's folder, most important first (systemd.unit(5)). */
const UNIT_DIRECTORIES = [
  "/run/systemd/system",
  "/run/systemd/generator",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
];
const SYSTEM_UNIT_DIRECTORY = "/etc/systemd/system";

/** Where other init systems keep dockerd's options: the script, its file and the variable. */
const SCRIPTS = [
  { script: "/etc/init.d/docker", file: "/etc/default/docker", variable: "DOCKER_OPTS" },
  { script: "/etc/init.d/docker", file: "/etc/sysconfig/docker", variable: "OPTIONS" },
  { script: "/etc/init.d/docker", file: "/etc/conf.d/docker", variable: "DOCKER_OPTS" },
] as const;

interface Variable {
  readonly value: string;
  readonly origin: string;
}

/**
 * docker.service's command; without such a unit that of the init script, null without either. `unitDirectory` is the
 * administrator's. Throws ConfigError.
 */
export async function readServiceCommand(unitDirectory: string): Promise<ServiceCommand | null> {
  const units = await readUnits(unitDirectory);
  return units.length > 0 ? await commandOf(units) : await scriptCommand();
}

/** The command of a unit with its drop-ins in systemd's order. Throws ConfigError. */
export async function commandOf(units: readonly UnitText[]): Promise<ServiceCommand> {
  const service = units.flatMap(parseUnit).filter(({ section }) => section === "Service");
  const undone = service.find(isUndoingDropIn);
  const commands = listOf(service, "ExecStart").flatMap(({ value }) => splitCommands(splitWords(value)));
  const [words = []] = commands;
  const [, prefix = "", program = ""] = /^([@:+!|-]*)(.*)$/.exec(words[0]?.text ?? "") ?? [];
  const variables = prefix.includes(":") ? new Map<string, Variable>() : await readVariables(service);
  const isDockerd = /^docker(d)?([-.].*)?$/.test(basename(program));
  const skipped = prefix.includes("@") ? 2 : 1;
  const expanded = words.flatMap((word, wordIndex) =>
    wordIndex < skipped ? [] : expand(word.text, wordIndex, variables),
  );
  return {
    name: "docker.service",
    words,
    program,
    arguments: isDockerd ? expanded : expanded.flatMap((one) => scriptWords(one, variables)),
    obstacle:
      undone === undefined
        ? obstacleOf(commands.length, isDockerd ? null : program, prefix)
        : `${undone.path} comes after ${DROP_IN} and sets ${undone.key}`,
  };
}

/** True for an assignment with which a later drop-in undoes ours. */
function isUndoingDropIn({ path, key, value }: Assignment): boolean {
  if (!path.endsWith(".conf") || basename(path) <= DROP_IN) return false;
  return key === "ExecStart" || (key === "EnvironmentFile" && value === "");
}

function obstacleOf(commandCount: number, otherProgram: string | null, prefix: string): string | null {
  if (commandCount !== 1) return `it has ${commandCount} ExecStart commands instead of one`;
  if (otherProgram !== null) return `it starts dockerd through ${otherProgram}`;
  return prefix.includes(":") ? "its ExecStart begins with a colon, which keeps variables as they are" : null;
}

function expand(
  text: string,
  wordIndex: number,
  variables: ReadonlyMap<string, Variable>,
): readonly Argument[] {
  const values = new Map([...variables].map(([name, { value }]) => [name, value]));
  const name = variableIn(text);
  const origin = name === null ? undefined : variables.get(name)?.origin;
  const variable = name === null ? null : `${name} in ${origin ?? "the environment"}`;
  return expandWord(text, values).map((one) => ({ text: one, wordIndex, variable }));
}

/** The words of a shell command line, whose variables the shell replaces. */
function scriptWords(
  { text, wordIndex }: Argument,
  variables: ReadonlyMap<string, Variable>,
): readonly Argument[] {
  return text
    .split(/[\s;"']+/)
    .filter((word) => word !== "")
    .flatMap((word) => expand(word.replace(/^\$\{(\w+)\}$/, "$$$1"), wordIndex, variables));
}

function splitCommands(words: readonly Word[]): readonly (readonly Word[])[] {
  const commands: Word[][] = [[]];
  for (const word of words) {
    if (word.raw === ";") commands.push([]);
    else commands.at(-1)?.push(word);
  }
  return commands.filter((command) => command.length > 0);
}

/** The assignments of a list setting: an empty value clears what was there before. */
function listOf(assignments: readonly Assignment[], key: string): readonly Assignment[] {
  let list: Assignment[] = [];
  for (const one of assignments.filter((each) => each.key === key)) {
    list = one.value === "" ? [] : [...list, one];
  }
  return list;
}

/** Environment=, then the files, which override it (systemd.exec(5)). */
async function readVariables(service: readonly Assignment[]): Promise<ReadonlyMap<string, Variable>> {
  const variables = new Map<string, Variable>();
  for (const { value, path } of listOf(service, "Environment")) {
    for (const { text } of splitWords(value)) {
      const [, name = "", content = ""] = /^([A-Za-z_]\w*)=([\s\S]*)$/.exec(text) ?? [];
      if (name !== "") variables.set(name, { value: content, origin: path });
    }
  }
  for (const { value } of listOf(service, "EnvironmentFile")) {
    const path = value.replace(/^-/, "").replaceAll("%%", "%");
    for (const [name, content] of parseEnvironmentFile((await readText(path)) ?? "")) {
      variables.set(name, { value: content, origin: path });
    }
  }
  for (const { value } of listOf(service, "UnsetEnvironment")) {
    for (const { text } of splitWords(value)) variables.delete(text);
  }
  return variables;
}

async function scriptCommand(): Promise<ServiceCommand | null> {
  for (const { script, file, variable } of SCRIPTS) {
    const text = existsSync(script) ? await readText(file) : null;
    const value = text === null ? undefined : parseEnvironmentFile(text, true).get(variable);
    if (value === undefined) continue;
    const origin = `${variable} in ${file}`;
    const options = splitWords(value, true).map((word) => ({
      text: word.text,
      wordIndex: 0,
      variable: origin,
    }));
    return {
      name: script,
      words: [],
      program: "dockerd",
      arguments: options,
      obstacle: "systemd does not start it",
    };
  }
  return null;
}

/** docker.service and its drop-ins as systemd reads them, without ours; empty when the unit does not exist. */
async function readUnits(unitDirectory: string): Promise<readonly UnitText[]> {
  const paths = (await askSystemd(unitDirectory)) ?? (await findUnits(unitDirectory));
  const units: UnitText[] = [];
  for (const path of paths) {
    if (basename(path) === DROP_IN || (await isMasked(path))) continue;
    const text = await readText(path);
    if (text !== null) units.push({ path, text });
  }
  return units;
}

/** The files in force, null where systemd does not run, or reads another folder. */
async function askSystemd(unitDirectory: string): Promise<readonly string[] | null> {
  if (unitDirectory !== SYSTEM_UNIT_DIRECTORY || !existsSync("/run/systemd/system")) return null;
  const args = ["show", "docker.service", "--property=FragmentPath,DropInPaths"];
  const { stdout } = await promisify(execFile)("systemctl", args).catch(() => ({ stdout: "" }));
  const values = new Map(stdout.split("\n").map((line) => line.split(/=(.*)/s, 2) as [string, string]));
  const fragment = values.get("FragmentPath") ?? "";
  if (fragment === "") return null;
  if (await isMasked(fragment)) return [];
  return [fragment, ...splitWords(values.get("DropInPaths") ?? "").map(({ text }) => text)];
}

async function findUnits(unitDirectory: string): Promise<readonly string[]> {
  const directories = [unitDirectory, ...UNIT_DIRECTORIES];
  const fragment = directories.map((each) => join(each, "docker.service")).find((path) => existsSync(path));
  if (fragment === undefined || (await isMasked(fragment))) return [];
  const files = new Map<string, string>();
  // A file replaces those of its name in less important folders; one for the service, those for all services.
  for (const folder of ["service.d", "docker.service.d"]) {
    for (const directory of [...directories].reverse()) {
      for (const path of await listDropIns(join(directory, folder))) files.set(basename(path), path);
    }
  }
  const sorted = [...files].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, path]) => path);
  return [fragment, ...sorted];
}

async function listDropIns(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory).catch(() => []);
  return names.filter((name) => name.endsWith(".conf")).map((name) => join(directory, name));
}

/** A link to /dev/null switches a unit or a drop-in off. */
async function isMasked(path: string): Promise<boolean> {
  return (await realpath(path).catch(() => path)) === "/dev/null";
}
