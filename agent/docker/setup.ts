/**
 * Which files make dockerd use tulled's subnet, and how they change: daemon.json, or a drop-in of docker.service.
 * Reads files and plans; writes and restarts nothing.
 */

import { isAbsolute } from "node:path";
import { parseSubnetEnv, readAssignments, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { isProgramFile } from "../host/own-programs.ts";
import { findCollisions, type SetupTarget } from "./collisions.ts";
import { type DaemonSettings, parseDaemonJson } from "./daemon-json.ts";
import { dnsWarning, serversOf } from "./dns.ts";
import { daemonSettings, dockerFlags, type Variables } from "./docker-opts.ts";
import { type DockerdOption, dockerdOptions } from "./dockerd-options.ts";
import { formatDropIn } from "./drop-in.ts";
import { masqueradeSupport, type ReadVersion, readEngineVersion } from "./engine-version.ts";
import { type FileChange, readText } from "./file-change.ts";
import { readServiceCommand, type ServiceCommand } from "./service-command.ts";
import { backupOf, dropInOf, planDaemonJson, planDns, planDropIn, type SetupPaths } from "./setup-changes.ts";
import type { DockerdStart } from "./validate.ts";

/** What subnet.env asks of Docker. */
export interface DockerSubnet {
  readonly env: SubnetEnv;
  readonly variables: Variables;
}

export interface SetupRequest {
  /**
   * Where the subnet's settings go. Null: in the drop-in when there is one of ours or when the service gives options of
   * ours, which dockerd would refuse beside daemon.json; else in daemon.json.
   */
  readonly target: SetupTarget | null;
  readonly subnet: DockerSubnet;
  /** The program that a drop-in calls: an absolute path. */
  readonly tulle: string;
  readonly paths: SetupPaths;
  /** The servers that dockerd asks for names after tulled; null, the default, leaves its DNS servers as they are. */
  readonly resolvers?: readonly string[] | null;
  /** Default: what the program says. */
  readonly readVersion?: ReadVersion;
}

export interface SetupPlan {
  readonly changes: readonly FileChange[];
  readonly warnings: readonly string[];
  /** How dockerd will start; null when nothing is known of its command. */
  readonly start: DockerdStart | null;
}

/** dockerd's command as it is, and what the subnet adds to it. */
interface Situation {
  readonly service: ServiceCommand | null;
  readonly target: SetupTarget;
  /** The subnet's settings, as keys of daemon.json. */
  readonly settings: DaemonSettings;
  /** The same as words of the command line; empty where they go to daemon.json. */
  readonly flags: readonly string[];
  readonly ip6tables: boolean;
  /** Options of dockerd's command that the drop-in gives itself, and the others. */
  readonly removed: readonly DockerdOption[];
  readonly kept: readonly DockerdOption[];
  /** The DNS servers that dockerd's command gives. */
  readonly servers: readonly string[];
  readonly warnings: readonly string[];
}

/** daemon.json, or what `--config-file` names, as it will be. */
interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** Throws ConfigError when the file does not exist and CodecError when it is damaged. */
export async function readSubnetFile(path: string): Promise<DockerSubnet> {
  const text = await readText(path);
  if (text === null) {
    throw new ConfigError(`${path} is not there: start tulled, or name its file with --subnet-file`);
  }
  return { env: parseSubnetEnv(text), variables: readAssignments(text) };
}

/**
 * The changes that make dockerd use the subnet. Throws ConfigError, and ConflictError that names every option that
 * dockerd would refuse.
 */
export async function planSetup(request: SetupRequest): Promise<SetupPlan> {
  const { subnet, paths, resolvers = null } = request;
  const situation = await readSituation(request);
  const { service, settings, flags, removed, kept, servers } = situation;
  const changes = await planChanges(situation, request);
  const config = await configFileAfter(changes, situation, paths);
  const warnings = requireNoRefusal(situation, config, subnet.env);
  const dns = resolvers === null ? null : dnsWarning(servers, service?.name ?? "");
  return {
    changes,
    warnings: [
      ...situation.warnings,
      ...(await staleSettings(settings, paths.daemonJson)),
      ...(dns === null ? [] : [dns]),
      ...warnings,
    ],
    start: service && startOf(service, [...removed, ...kept.filter(isConfigFile)], flags, config.text),
  };
}

async function readSituation(request: SetupRequest): Promise<Situation> {
  const { subnet, tulle, paths, readVersion = readEngineVersion } = request;
  const service = await readServiceCommand(paths.unitDirectory);
  const given = service?.arguments ?? [];
  const options = dockerdOptions(given);
  const support = await masqueradeSupport(subnet.env, service?.program ?? "dockerd", readVersion);
  const choice = { ipMasq: true, ip6tables: support.needsExperimental };
  const settings = daemonSettings(subnet.variables, choice);
  const isOwn = ({ name }: DockerdOption): boolean => Object.hasOwn(settings, name);
  const target = request.target ?? (await preferredTarget(service, options.some(isOwn), paths));
  const isDropIn = target === "drop-in";
  if (isDropIn) {
    requireUsable(service);
    requireProgram(tulle);
  }
  const removed = isDropIn ? options.filter((option) => isOwn(option) && option.variable === null) : [];
  return {
    ...{ service, target, settings, removed, ip6tables: choice.ip6tables, warnings: support.warnings },
    flags: isDropIn ? dockerFlags(subnet.variables, choice) : [],
    kept: options.filter((option) => !removed.includes(option)),
    servers: serversOf(given),
  };
}

async function planChanges(situation: Situation, request: SetupRequest): Promise<readonly FileChange[]> {
  const { service, target, settings, removed, ip6tables, servers } = situation;
  const { tulle, paths, resolvers = null } = request;
  // Beside servers on its command line dockerd would refuse those of daemon.json.
  const dns = resolvers === null || servers.length > 0 ? {} : await planDns(resolvers, paths.daemonJson);
  if (target === "drop-in" && service !== null)
    return await planDropIn(
      formatDropIn(service, { removed, tulle, ip6tables, subnetFile: paths.subnetFile }),
      dns,
      paths,
    );
  return await planDaemonJson({ ...settings, ...dns }, paths);
}

async function configFileAfter(
  changes: readonly FileChange[],
  { target, kept }: Situation,
  { daemonJson }: SetupPaths,
): Promise<ConfigFile> {
  const named = target === "drop-in" ? kept.findLast(isConfigFile)?.value : undefined;
  const path = named ?? daemonJson;
  const change = changes.find((one) => one.path === path);
  return { path, text: (change === undefined ? await readText(path) : change.after) ?? "" };
}

/** Returns warnings. Throws ConflictError. */
function requireNoRefusal(situation: Situation, config: ConfigFile, env: SubnetEnv): readonly string[] {
  const { service, target, settings, kept } = situation;
  const { refusals, warnings } = findCollisions({
    ...{ target, env },
    dockerMasquerades: !env.ipMasq,
    ownKeys: new Set(Object.keys(settings)),
    options: kept,
    serviceName: service?.name ?? "",
    mayUseDropIn: service?.obstacle === null,
    settings: parseDaemonJson(config.text, config.path),
    daemonJson: config.path,
  });
  if (refusals.length > 0) throw new ConflictError(refusals.join("; "));
  return warnings;
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
