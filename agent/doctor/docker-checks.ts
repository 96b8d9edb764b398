/** Whether Docker on this host can use named networks: the driver's socket, dockerd, and what the driver reports. Pure. */

import type { DockerSettings } from "../config/config.ts";
import { PLUGIN_FOLDER } from "../docker/plugin-folders.ts";
import type { EngineServiceStatus } from "../engines/engine-service.ts";
import { bad, type Finding, ok, skipped } from "./finding.ts";

export interface DockerFacts {
  readonly settings: DockerSettings;
  /** The driver is to be served here: switched on, or Docker is installed. */
  readonly isWanted: boolean;
  /** A process listens on the driver's socket. */
  readonly isSocketServed: boolean;
  /** dockerd looks for plugins where the socket is, or a file of its own leads there. */
  readonly isSocketFound: boolean;
  /** A tulled answers on its control socket. */
  readonly isDaemonThere: boolean;
  /** What tulled says of it; null when tulled does not answer or serves no engine. */
  readonly report: EngineServiceStatus | null;
}

const SUBJECT = "docker";

/** Nothing where Docker is not installed and not asked for. */
export function dockerFindings(facts: DockerFacts): readonly Finding[] {
  const { settings, isWanted, report } = facts;
  if (!isWanted)
    return settings.plugin === "off" ? [skipped(SUBJECT, "--docker-plugin=off: no driver is served")] : [];
  const findings = [...socketFindings(facts), ...(report === null ? [] : reportFindings(report))];
  return findings.length > 0 ? findings : [ok(SUBJECT, summary(facts))];
}

function socketFindings({
  settings: { pluginSocket },
  isSocketServed,
  isSocketFound,
  isDaemonThere,
  report,
}: DockerFacts): readonly Finding[] {
  const failure = report?.failure ?? null;
  if (failure !== null)
    return [
      bad("fail", SUBJECT, `the driver does not run: ${failure}`, 'the log of tulled ("tulle events")'),
    ];
  if (!isSocketServed && !isDaemonThere) return [skipped(SUBJECT, "no daemon serves the driver")];
  if (!isSocketServed) {
    const consequence = "containers on networks of the driver tulle do not start";
    const message =
      report === null
        ? `tulled does not serve ${pluginSocket}: ${consequence}`
        : `tulled serves ${pluginSocket}, but nothing answers there: ${consequence}`;
    return [bad("fail", SUBJECT, message, "restart tulled")];
  }
  if (isSocketFound) return [];
  const message = `dockerd does not look for a driver at ${pluginSocket}`;
  const remedy = `put the socket into ${PLUGIN_FOLDER}, or its address into a file NAME.spec in /etc/docker/plugins`;
  return [bad("fail", SUBJECT, message, remedy)];
}

function reportFindings({
  engineProblem = null,
  problems = [],
  names,
}: EngineServiceStatus): readonly Finding[] {
  const nameProblem = names?.problem ?? null;
  return [
    ...(engineProblem === null
      ? []
      : [bad("warn", SUBJECT, engineProblem, "start Docker, or give --docker-socket")]),
    ...problems.map((problem) => bad("warn", SUBJECT, problem, '"tulle network ls" shows the networks')),
    ...(nameProblem === null
      ? []
      : [bad("warn", SUBJECT, `names of containers are not served: ${nameProblem}`, "see docs/names.md")]),
  ];
}

function summary({ settings: { pluginSocket }, report }: DockerFacts): string {
  const networks = report?.networks ?? [];
  const containers = networks.reduce((sum, network) => sum + network.containers, 0);
  if (report === null) return `the driver is served at ${pluginSocket}`;
  return `the driver is served at ${pluginSocket}; networks: ${networks.length}, containers here: ${containers}`;
}
