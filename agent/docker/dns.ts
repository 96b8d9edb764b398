/**
 * Which DNS servers Docker's embedded DNS asks for names that it does not have: tulled's first, then others for the time
 * that tulled does not run. Reads files, writes none.
 */

import { existsSync } from "node:fs";
import { isIP } from "node:net";
import type { JsonObject } from "../../ipam/json.ts";
import { NAME_SERVER } from "../names/name-server-address.ts";
import { parseResolvConf } from "../names/resolv-conf.ts";
import { parseDaemonJson } from "./daemon-json.ts";
import { readText } from "./file-change.ts";
import { type Argument, readServiceCommand } from "./service-command.ts";

const OURS = NAME_SERVER.toString();

const DAEMON_JSON = "/etc/docker/daemon.json";
const UNIT_DIRECTORY = "/etc/systemd/system";
const DOCKER_SOCKET = "/run/docker.sock";

/** Docker's embedded DNS asks no more of them (libnetwork, maxExtDNS). */
const MAX_SERVERS = 3;

/** The second is systemd-resolved's list of the servers behind its own address 127.0.0.53. */
const RESOLV_CONFS = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/** The host's resolvers that containers can ask too: those that are not on its loopback interface or on a link. */
export async function hostResolvers(paths: readonly string[] = RESOLV_CONFS): Promise<readonly string[]> {
  for (const path of paths) {
    const hosts = parseResolvConf((await readText(path)) ?? "").map(({ host }) => host);
    const reachable = hosts.filter(isForContainers);
    if (reachable.length > 0) return reachable;
  }
  return [];
}

/** The servers for daemon.json: ours, then those that it has, else the host's `resolvers`. */
export function dnsServers(settings: JsonObject, resolvers: readonly string[]): readonly string[] {
  const present = serversIn(settings).filter((server) => server !== OURS);
  return [OURS, ...(present.length > 0 ? present : resolvers)].slice(0, MAX_SERVERS);
}

/** The `dns` of daemon.json; a value that dockerd would reject counts as none. */
function serversIn({ dns }: JsonObject): readonly string[] {
  return Array.isArray(dns) ? dns.filter((server) => typeof server === "string") : [];
}

/**
 * The servers that dockerd gets from its command line, else from daemon.json; null where Docker is not installed. Throws
 * ConfigError for a file that cannot be read.
 */
export async function dockerServers(daemonJson = DAEMON_JSON): Promise<readonly string[] | null> {
  const service = await readServiceCommand(UNIT_DIRECTORY);
  const given = serversOf(service?.arguments ?? []);
  const text = await readText(daemonJson);
  if (service === null && text === null && !existsSync(DOCKER_SOCKET)) return null;
  return given.length > 0 ? given : serversIn(parseDaemonJson(text ?? "", daemonJson));
}

/** The servers that dockerd's command line gives, in order. */
export function serversOf(given: readonly Pick<Argument, "text">[]): readonly string[] {
  return given.flatMap(({ text }, index) => {
    if (text === "--dns") return given[index + 1]?.text ?? [];
    return text.startsWith("--dns=") ? text.slice("--dns=".length) : [];
  });
}

/** A warning about servers on the command line, beside which daemon.json must not have any; null when ours is first. */
export function dnsWarning(servers: readonly string[], serviceName: string): string | null {
  const [first] = servers;
  if (first === undefined || first === OURS) return null;
  return (
    `${serviceName} gives --dns=${first}: containers resolve names of other hosts' containers only ` +
    `with --dns=${OURS} in front of it`
  );
}

function isForContainers(host: string): boolean {
  if (isIP(host) === 4) return !host.startsWith("127.") && !host.startsWith("169.254.");
  return isIP(host) === 6 && host !== "::1" && !host.includes("%");
}
