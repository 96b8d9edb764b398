/**
 * Which files make dockerd use tulled's subnet, and how they change: daemon.json, or a drop-in of docker.service.
 * Reads files and plans; writes and restarts nothing.
 */

import { isAbsolute, join } from "node:path";
import { parseSubnetEnv, readAssignments, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { isProgramFile } from "../host/own-programs.ts";
import { findCollisions, type SetupTarget } from "./collisions.ts";
import { type DaemonSettings, editDaemonJson, parseDaemonJson } from "./daemon-json.ts";
import { dnsServers, dnsWarning, serversOf } from "./dns.ts";
import { daemonSettings, dockerFlags, type Variables } from "./docker-opts.ts";
import { type DockerdOption, dockerdOptions } from "./dockerd-options.ts";
import { formatDropIn } from "./drop-in.ts";
import { masqueradeSupport, type ReadVersion, readEngineVersion } from "./engine-version.ts";
import { type FileChange, readText } from "./file-change.ts";
import { DROP_IN, readServiceCommand, type ServiceCommand } from "./service-command.ts";
import type { DockerdStart } from "./validate.ts";

export interface SetupPaths {
  readonly subnetFile: string;
  readonly daemonJson: string;
  /** Folder of the administrator's units: /etc/systemd/system. */
  readonly unitDirectory: string;
}

/** Every key of daemon.json that we may write. */
const OWN_KEYS = [
  "bip",
  "mtu",
  "ip-masq",
  "ipv6",
  "fixed-cidr-v6",
  "ip6tables",
  "experimental",
  "dns",
] as const;

/** What subnet.env asks of Docker. */
export interface DockerSubnet {
  readonly env: SubnetEnv;
  readonly variables: Variables;
}

export interface SetupPlan {
  readonly changes: readonly FileChange[];
  readonly warnings: readonly string[];
  /** How dockerd will start; null when nothing is known of its command. */
  readonly start: DockerdStart | null;
}

/** Throws ConfigError when the file does not exist and CodecError when it is damaged. */
export async function readSubnetFile(path: string): Promise<DockerSubnet> {
  const text = await readText(path);
  if (text === null) {
    throw new ConfigError(`${path} is not there: start tulled, or name its file with --subnet-file`);
  }
  return { env: parseSubnetEnv(text), variables: readAssignments(text) };
}

/** The administrator's daemon.json as it was before us; kept beside it until `unset`. */
function backupOf(daemonJson: string): string {
  return `${daemonJson}.before-tulle`;
}

function dropInOf(unitDirectory: string): string {
  return join(unitDirectory, "docker.service.d", DROP_IN);
}

/**
 * The changes that make dockerd use the subnet, and ask tulled for names where `resolvers`, what to ask besides, are not
 * null. The subnet's settings go where `asked` says, else in the drop-in when there is one of ours or
 * when the service gives options of ours, which dockerd would refuse beside daemon.json; else in daemon.json. Throws
 * ConfigError, and ConflictError that names every option that dockerd would refuse.
 */
export async function planSetup(
  asked: SetupTarget | null,
  subnet: DockerSubnet,
  tulle: string,
  paths: SetupPaths,
  readVersion: ReadVersion = readEngineVersion,
  resolvers: readonly string[] | null = null,
): Promise<SetupPlan> {
  const service = await readServiceCommand(paths.unitDirectory);
  const options = dockerdOptions(service?.arguments ?? []);
  const support = await masqueradeSupport(subnet.env, service?.program ?? "dockerd", readVersion);
  const choice = { ipMasq: true, ip6tables: support.needsExperimental };
  const settings = daemonSettings(subnet.variables, choice);
  const ownKeys = new Set(Object.keys(settings));
  const isOwn = ({ name }: DockerdOption): boolean => ownKeys.has(name);
  const target = asked ?? (await preferredTarget(service, options.some(isOwn), paths));
  if (target === "drop-in") {
    requireUsable(service);
    requireProgram(tulle);
  }
  const servers = serversOf(service?.arguments ?? []);
  const dns = resolvers === null || servers.length > 0 ? {} : await planDns(resolvers, paths.daemonJson);
  // The drop-in gives these options itself.
  const removed =
    target === "drop-in" ? options.filter((option) => isOwn(option) && option.variable === null) : [];
  const kept = options.filter((option) => !removed.includes(option));
  const changes =
    target === "drop-in" && service !== null
      ? await planDropIn(formatDropIn(service, { removed, tulle, ip6tables: choice.ip6tables }), dns, paths)
      : await planDaemonJson({ ...settings, ...dns }, paths);
  const ownFile = kept.findLast(isConfigFile)?.value;
  const configFile = (target === "drop-in" ? ownFile : undefined) ?? paths.daemonJson;
  const change = changes.find(({ path }) => path === configFile);
  const config = (change === undefined ? await readText(configFile) : change.after) ?? "";
  const { refusals, warnings } = findCollisions({
    target,
    env: subnet.env,
    dockerMasquerades: !subnet.env.ipMasq,
    ownKeys,
    options: kept,
    serviceName: service?.name ?? "",
    mayUseDropIn: service?.obstacle === null,
    settings: parseDaemonJson(config, configFile),
    daemonJson: configFile,
  });
  if (refusals.length > 0) throw new ConflictError(refusals.join("; "));
  const given = target === "drop-in" ? dockerFlags(subnet.variables, choice) : [];
  const start = service && startOf(service, [...removed, ...kept.filter(isConfigFile)], given, config);
  const stale = await staleSettings(settings, paths.daemonJson);
  const dnsFinding = resolvers === null ? null : dnsWarning(servers, service?.name ?? "");
  const names = dnsFinding === null ? [] : [dnsFinding];
  return { changes, warnings: [...support.warnings, ...stale, ...names, ...warnings], start };
}

/** Settings that an earlier run wrote for a range that the network no longer has; the administrator may have changed them. */
async function staleSettings(settings: DaemonSettings, daemonJson: string): Promise<readonly string[]> {
  const backup = backupOf(daemonJson);
  const original = await readText(backup);
  const key = "fixed-cidr-v6";
  if (original === null || settings[key] !== undefined) return [];
  const present = parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson)[key];
  if (present === undefined || present === parseDaemonJson(original, backup)[key]) return [];
  return [
    `${daemonJson} sets "${key}" to ${JSON.stringify(present)}, and the network has no IPv6 any more: ` +
      'run "tulle docker unset", then "tulle docker setup" again',
  ];
}

function isConfigFile({ name }: DockerdOption): boolean {
  return name === "config-file";
}

async function preferredTarget(
  service: ServiceCommand | null,
  givesOwn: boolean,
  { unitDirectory }: SetupPaths,
): Promise<SetupTarget> {
  if (service === null || service.obstacle !== null) return "daemon-json";
  const hasDropIn = (await readText(dropInOf(unitDirectory))) !== null;
  return hasDropIn || givesOwn ? "drop-in" : "daemon-json";
}

function requireUsable(service: ServiceCommand | null): void {
  if (service === null) {
    throw new ConfigError(
      "docker.service is absent or masked: install Docker first, or use --into daemon-json",
    );
  }
  if (service.obstacle !== null) {
    throw new ConfigError(
      `${service.name} cannot be given options (${service.obstacle}): use --into daemon-json`,
    );
  }
}

/** Docker would not start with a drop-in that calls anything else. */
function requireProgram(tulle: string): void {
  if (isAbsolute(tulle) && isProgramFile(tulle)) return;
  throw new ConfigError(`--tulle "${tulle}" is wrong: give the absolute path of the program tulle`);
}

/** The command line without the options `removed`, with `added`. dockerd checks its configuration as a copy. */
function startOf(
  service: ServiceCommand,
  removed: readonly DockerdOption[],
  added: readonly string[],
  config: string,
): DockerdStart {
  const gone = new Set(removed.flatMap(({ parts }) => parts));
  const kept = service.arguments.filter((argument) => !gone.has(argument)).map(({ text }) => text);
  return { program: service.program, arguments: [...kept, ...added], config };
}

/** The changes that put `settings` into daemon.json. Throws ConfigError. */
async function planDaemonJson(
  settings: DaemonSettings,
  { daemonJson, unitDirectory }: SetupPaths,
): Promise<FileChange[]> {
  const before = await readText(daemonJson);
  const all = Object.fromEntries(OWN_KEYS.map((key) => [key, settings[key]]));
  const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const after = editDaemonJson(before ?? "", present, daemonJson);
  const noDropIn = await planNoDropIn(unitDirectory);
  if (after === before) return noDropIn;
  const backup = backupOf(daemonJson);
  const hasBackup = (await readText(backup)) !== null;
  return [
    ...(hasBackup ? [] : [{ path: backup, before: null, after: before ?? "", like: daemonJson }]),
    { path: daemonJson, before, after },
    ...noDropIn,
  ];
}

/** The setting of the DNS servers. Throws ConfigError. */
async function planDns(resolvers: readonly string[], daemonJson: string): Promise<DaemonSettings> {
  const present = parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson);
  return { dns: dnsServers(present, resolvers) };
}

/** The changes that write the drop-in, and in daemon.json `dns` alone of our settings. Throws ConfigError. */
async function planDropIn(after: string, dns: DaemonSettings, paths: SetupPaths): Promise<FileChange[]> {
  const path = dropInOf(paths.unitDirectory);
  const before = await readText(path);
  const changes = before === after ? [] : [{ path, before, after }];
  const hasDns = dns.dns !== undefined;
  const { daemonJson } = paths;
  return [...changes, ...(await (hasDns ? planDnsAlone(dns, daemonJson) : planNoDaemonJson(daemonJson)))];
}

/** Sets `dns`; our other keys get the values they had before us. */
async function planDnsAlone(dns: DaemonSettings, daemonJson: string): Promise<FileChange[]> {
  const backup = backupOf(daemonJson);
  const original = await readText(backup);
  const before = await readText(daemonJson);
  const earlier = original === null ? {} : earlierSettings(original, backup);
  const after = editDaemonJson(before ?? "", { ...earlier, ...dns }, daemonJson);
  if (after === before) return [];
  const first =
    original === null ? [{ path: backup, before: null, after: before ?? "", like: daemonJson }] : [];
  return [...first, { path: daemonJson, before, after }];
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
  const edited = editDaemonJson(before ?? "", earlierSettings(original, backup), daemonJson);
  const isOursAlone = original === "" && Object.keys(parseDaemonJson(edited, daemonJson)).length === 0;
  return [
    { path: daemonJson, before, after: isOursAlone ? null : edited },
    { path: backup, before: original, after: null },
  ];
}

/** Our keys as they were before us; undefined for those that were not there. */
function earlierSettings(original: string, backup: string): DaemonSettings {
  const values = parseDaemonJson(original, backup);
  return Object.fromEntries(OWN_KEYS.map((key) => [key, values[key]]));
}
