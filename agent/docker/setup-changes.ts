/** The changes of daemon.json and of the drop-in that give dockerd its settings, and that take them back. Writes nothing. */

import { join } from "node:path";
import { type DaemonSettings, editDaemonJson, parseDaemonJson } from "./daemon-json.ts";
import { dnsServers } from "./dns.ts";
import { type FileChange, readText } from "./file-change.ts";
import { DROP_IN } from "./service-command.ts";

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

/** The administrator's daemon.json as it was before us; kept beside it until `unset`. */
export function backupOf(daemonJson: string): string {
  return `${daemonJson}.before-tulle`;
}

export function dropInOf(unitDirectory: string): string {
  return join(unitDirectory, "docker.service.d", DROP_IN);
}

/** The changes that put `settings` into daemon.json. Throws ConfigError. */
export async function planDaemonJson(
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
export async function planDns(resolvers: readonly string[], daemonJson: string): Promise<DaemonSettings> {
  const present = parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson);
  return { dns: dnsServers(present, resolvers) };
}

/** The changes that write the drop-in, and in daemon.json `dns` alone of our settings. Throws ConfigError. */
export async function planDropIn(
  after: string,
  dns: DaemonSettings,
  paths: SetupPaths,
): Promise<FileChange[]> {
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
