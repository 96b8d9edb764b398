/**
 * Which files make dockerd use tulled's subnet, and how they change: daemon.json, or a drop-in of docker.service.
 *
 * Reads the files and plans; writing is file-change.ts's affair. Restarts nothing.
 */

import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { entriesOf, Prefix } from "../../ipam/addresses/ip.ts";
import { parseSubnetEnv, readAssignments, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { type DaemonSettings, editDaemonJson, parseDaemonJson } from "./daemon-json.ts";
import { daemonSettings } from "./docker-opts.ts";
import { type FileChange, readText } from "./file-change.ts";
import { execStartOf, formatDropIn, ownOptionsIn } from "./unit-file.ts";

/** Where the settings go. */
export type SetupTarget = "daemon-json" | "drop-in";

export interface SetupPaths {
  readonly subnetFile: string;
  readonly daemonJson: string;
  /** Folder of the administrator's units: /etc/systemd/system. */
  readonly unitDirectory: string;
}

/** Where systemd looks for units, most important first (systemd.unit(5)), behind the administrator's folder. */
const UNIT_DIRECTORIES = ["/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

const DROP_IN = "50-tulle.conf";

/** Every key of daemon.json that we may write. */
const OWN_KEYS = ["bip", "mtu", "ip-masq", "ipv6", "fixed-cidr-v6"] as const;

/** subnet.env, read. Throws ConfigError when there is none and CodecError when it is broken. */
export async function readSubnetFile(path: string): Promise<{ env: SubnetEnv; settings: DaemonSettings }> {
  const text = await readText(path);
  if (text === null) {
    throw new ConfigError(`${path} is not there: start tulled, or name its file with --subnet-file`);
  }
  const env = parseSubnetEnv(text);
  return { env, settings: { ...daemonSettings(readAssignments(text), true), ...ipv6Settings(env) } };
}

/** Docker numbers its containers from the range itself; it has no bip for IPv6. */
function ipv6Settings({ subnets }: SubnetEnv): DaemonSettings {
  for (const [family, { address, length }] of entriesOf(subnets)) {
    if (family === 6) return { ipv6: true, "fixed-cidr-v6": Prefix.of(address, length).toString() };
  }
  return {};
}

/** The administrator's daemon.json as it was before us; kept beside it until `unset`. */
function backupOf(daemonJson: string): string {
  return `${daemonJson}.before-tulle`;
}

function dropInOf(unitDirectory: string): string {
  return join(unitDirectory, "docker.service.d", DROP_IN);
}

/**
 * The target to use: what is asked for, else the drop-in where one of ours stands or the unit gives our options
 * by hand, which dockerd would refuse beside daemon.json; else daemon.json.
 */
export async function chooseTarget(asked: SetupTarget | null, paths: SetupPaths): Promise<SetupTarget> {
  if (asked === "drop-in") return asked;
  const texts = await readUnit(paths.unitDirectory);
  const byHand = texts.length === 0 ? [] : ownOptionsIn(execStartOf(texts));
  if (asked === null) {
    const hasDropIn = (await readText(dropInOf(paths.unitDirectory))) !== null;
    return hasDropIn || byHand.length > 0 ? "drop-in" : "daemon-json";
  }
  if (byHand.length > 0) {
    throw new ConflictError(
      `docker.service gives ${byHand.join(" ")} itself, and dockerd refuses what stands there and in ` +
        `${paths.daemonJson}: take it out of the unit, or use --into drop-in`,
    );
  }
  return asked;
}

/** The changes that put `settings` into daemon.json. Throws ConfigError and ConflictError. */
export async function planDaemonJson(
  settings: DaemonSettings,
  { daemonJson, unitDirectory }: SetupPaths,
): Promise<FileChange[]> {
  const before = await readText(daemonJson);
  const { bridge } = parseDaemonJson(before ?? "", daemonJson);
  if (bridge !== undefined && bridge !== "") {
    throw new ConflictError(
      `${daemonJson} sets "bridge" to ${JSON.stringify(bridge)}, and dockerd takes no bip beside it: remove it`,
    );
  }
  const all = Object.fromEntries(OWN_KEYS.map((key) => [key, settings[key]]));
  const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const after = editDaemonJson(before ?? "", present, daemonJson);
  if (after === before) return [];
  const backup = backupOf(daemonJson);
  const hasBackup = (await readText(backup)) !== null;
  return [
    ...(hasBackup ? [] : [{ path: backup, before: null, after: before ?? "", like: daemonJson }]),
    { path: daemonJson, before, after },
    ...(await planNoDropIn(unitDirectory)),
  ];
}

/** The changes that write the drop-in. `tulle` is the path of this program. Throws ConfigError. */
export async function planDropIn(tulle: string, paths: SetupPaths): Promise<FileChange[]> {
  const texts = await readUnit(paths.unitDirectory);
  if (texts.length === 0) {
    throw new ConfigError("docker.service is not there: install Docker first, or use --into daemon-json");
  }
  const path = dropInOf(paths.unitDirectory);
  const before = await readText(path);
  const after = formatDropIn(execStartOf(texts), tulle);
  const changes = before === after ? [] : [{ path, before, after }];
  return [...changes, ...(await planNoDaemonJson(paths.daemonJson))];
}

/** The changes that undo everything. */
export async function planUnset({ daemonJson, unitDirectory }: SetupPaths): Promise<FileChange[]> {
  return [...(await planNoDropIn(unitDirectory)), ...(await planNoDaemonJson(daemonJson))];
}

async function planNoDropIn(unitDirectory: string): Promise<FileChange[]> {
  const path = dropInOf(unitDirectory);
  const before = await readText(path);
  return before === null ? [] : [{ path, before, after: null }];
}

/** Gives our keys the values they had before us; other settings stay as they are now. */
async function planNoDaemonJson(daemonJson: string): Promise<FileChange[]> {
  const backup = backupOf(daemonJson);
  const original = await readText(backup);
  if (original === null) return [];
  const before = await readText(daemonJson);
  const values = parseDaemonJson(original, backup);
  const earlier = Object.fromEntries(OWN_KEYS.map((key) => [key, values[key]]));
  const edited = editDaemonJson(before ?? "", earlier, daemonJson);
  const isOursAlone = original === "" && Object.keys(parseDaemonJson(edited, daemonJson)).length === 0;
  return [
    { path: daemonJson, before, after: isOursAlone ? null : edited },
    { path: backup, before: original, after: null },
  ];
}

/** The texts of docker.service and its drop-ins in the order in which systemd reads them, without ours. */
async function readUnit(unitDirectory: string): Promise<string[]> {
  const directories = [unitDirectory, ...UNIT_DIRECTORIES];
  const fragments = await Promise.all(directories.map((each) => readText(join(each, "docker.service"))));
  const fragment = fragments.find((text) => text !== null);
  if (fragment === undefined || fragment === null) return [];
  const files = new Map<string, string>();
  for (const directory of [...directories].reverse()) {
    for (const path of await listDropIns(join(directory, "docker.service.d")))
      files.set(basename(path), path);
  }
  const paths = [...files].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, path]) => path);
  const dropIns = await Promise.all(paths.map(readText));
  return [fragment, ...dropIns.filter((text) => text !== null)];
}

async function listDropIns(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .filter((name) => name.endsWith(".conf") && name !== DROP_IN)
    .map((name) => join(directory, name));
}
