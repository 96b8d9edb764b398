/**
 * The drop-in with which systemd starts dockerd on tulled's subnet, made from the unit as the administrator has it.
 *
 * Pure text; knows of systemd.syntax(7) and systemd.service(5) only what ExecStart needs.
 */

import { ConfigError } from "../../ipam/errors.ts";

/** Where `tulle docker-opts` writes dockerd's options at each start of the service. */
const OPTIONS_FILE = "/run/tulle/docker.env";
const OPTIONS_VARIABLE = "TULLE_DOCKER_OPTS";

/** Options that are ours to give; a switch such as ip-masq takes a value only behind `=`. */
const OWN_OPTIONS = String.raw`(?:bip|mtu)(?:=\S*| +\S+)|ip-masq(?:=\S*)?`;

/** The command of a service from its unit file and drop-ins, in systemd's order. Throws ConfigError. */
export function execStartOf(texts: readonly string[]): string {
  let commands: string[] = [];
  for (const [key, value] of texts.flatMap(serviceAssignments)) {
    if (key !== "ExecStart") continue;
    commands = value === "" ? [] : [...commands, value];
  }
  const [command] = commands;
  if (command === undefined || commands.length > 1) {
    throw new ConfigError(
      `docker.service has ${commands.length} ExecStart commands instead of one: use --into daemon-json`,
    );
  }
  return command;
}

/** Those of our options that a command line gives, as it spells them: `--bip=10.2.54.1/24`. */
export function ownOptionsIn(command: string): string[] {
  return [...command.matchAll(ownOptionPattern())].map(([match]) => match.trim());
}

/** The drop-in: the same command, with our options written anew at each start. `tulle` is the program's path. */
export function formatDropIn(command: string, tulle: string): string {
  const bare = command.replaceAll(ownOptionPattern(), "");
  return `# Written by "tulle docker setup"; "tulle docker unset" removes it.
# dockerd starts once tulled has a subnet (READY), with that subnet's options.
[Unit]
Wants=tulled.service
After=tulled.service

[Service]
EnvironmentFile=-${OPTIONS_FILE}
ExecStartPre=${tulle} docker-opts -c -k ${OPTIONS_VARIABLE} -d ${OPTIONS_FILE}
ExecStart=
ExecStart=${bare} $${OPTIONS_VARIABLE}
`;
}

function ownOptionPattern(): RegExp {
  return new RegExp(String.raw` +--?(?:${OWN_OPTIONS})(?=\s|$)`, "g");
}

/** The assignments of the section [Service], with continued lines joined. */
function serviceAssignments(text: string): [key: string, value: string][] {
  const assignments: [string, string][] = [];
  let section = "";
  for (const line of text.replace(/\\\n[ \t]*/g, "").split("\n")) {
    section = /^\s*\[(.*)\]\s*$/.exec(line)?.[1] ?? section;
    const match = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (section === "Service" && match) assignments.push([match[1] ?? "", match[2] ?? ""]);
  }
  return assignments;
}
