/** The drop-in with which systemd starts dockerd on tulled's subnet. Pure text. */

import { resolve } from "node:path";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { quoteWord } from "./command-line.ts";
import type { DockerdOption } from "./dockerd-options.ts";
import type { ServiceCommand } from "./service-command.ts";

/** Where `tulle docker-opts` writes dockerd's options at each start of the service. */
const OPTIONS_FILE = "/run/tulle/docker.env";
const OPTIONS_VARIABLE = "TULLE_DOCKER_OPTS";

export interface DropIn {
  /** The unit's options that ours replace. */
  readonly removed: readonly DockerdOption[];
  /** The absolute path of the program `tulle`. */
  readonly tulle: string;
  /** See OptionChoice. */
  readonly ip6tables: boolean;
  /** tulled's --subnet-file. */
  readonly subnetFile: string;
}

/** The unit's command with our options at its end. */
export function formatDropIn({ words }: ServiceCommand, dropIn: DropIn): string {
  const { removed } = dropIn;
  const gone = new Set(removed.flatMap(({ parts }) => parts.map(({ wordIndex }) => wordIndex)));
  const kept = words.filter((_, index) => !gone.has(index)).map(({ raw }) => raw);
  return `# Written by "tulle docker setup"; "tulle docker unset" removes it.
# dockerd starts once tulled has a subnet (READY), with that subnet's options.
[Unit]
Wants=tulled.service
After=tulled.service

[Service]
EnvironmentFile=-${OPTIONS_FILE}
# The options of the last start are in the environment, and docker-opts would put them in front of the new ones.
ExecStartPre=/usr/bin/env -u ${OPTIONS_VARIABLE} ${optionsCommand(dropIn)}
ExecStart=
ExecStart=${kept.join(" ")} $${OPTIONS_VARIABLE}
`;
}

function optionsCommand({ tulle, ip6tables, subnetFile }: DropIn): string {
  // systemd runs it in another folder.
  const file = resolve(subnetFile);
  return [
    `${quoteWord(tulle)} docker-opts -c`,
    ...(ip6tables ? ["--ip6tables"] : []),
    `-k ${OPTIONS_VARIABLE} -d ${OPTIONS_FILE}`,
    ...(file === DEFAULT_PATHS.subnetFile ? [] : [`-f ${quoteWord(file)}`]),
  ].join(" ");
}
