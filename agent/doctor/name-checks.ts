/** Whether containers can resolve names of named networks: tulled's name server and Docker's settings. Pure. */

import { NAME_SERVER } from "../names/name-server-address.ts";
import { bad, type Finding, ok } from "./finding.ts";

export interface NameFacts {
  /** The servers that dockerd is given, by its command line or daemon.json; null where Docker is not installed. */
  readonly dockerServers: readonly string[] | null;
  /** tulled's name server answers. */
  readonly isServed: boolean;
}

/** Nothing where named networks are not in use. */
export function nameFindings({ dockerServers, isServed }: NameFacts): readonly Finding[] {
  if (dockerServers === null) return [];
  const position = dockerServers.indexOf(NAME_SERVER.toString());
  if (!isServed) {
    if (position < 0) return [];
    const message = `Docker asks ${NAME_SERVER}, where no name server answers: lookups of containers are slow or fail`;
    return [
      bad(
        "fail",
        "names",
        message,
        'start tulled with --docker-plugin, or run "tulle docker unset" and restart Docker',
      ),
    ];
  }
  if (position === 0) return [ok("names", `served at ${NAME_SERVER}, which Docker asks first`)];
  const message =
    position < 0
      ? `served at ${NAME_SERVER}, but Docker does not ask there: containers find no names of other hosts`
      : `served at ${NAME_SERVER}, but Docker asks ${dockerServers[0]} first, which may deny the names`;
  return [
    bad(
      "warn",
      "names",
      message,
      `put "dns": ["${NAME_SERVER}", …] into daemon.json ("tulle docker setup" does), and restart Docker`,
    ),
  ];
}
