/** `tulle ps`: which containers have which addresses, on which networks and hosts. Reads only. */

import { readOverview } from "../named-networks/overview.ts";
import { selectNetwork } from "../named-networks/select-network.ts";
import type { CommandModule } from "../terminal/command.ts";
import { containerToJson, formatContainers } from "../terminal/named-network-view.ts";
import { STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

interface PsOptions {
  readonly json?: true;
  readonly network?: string;
  readonly host?: string;
}

export const ps: CommandModule = {
  daemonFlags: STORE_FLAGS,
  define(command, context) {
    command
      .option("--network <name>", "one network only: a name or the start of an id")
      .option("--host <host>", "one host only: a name or a node id")
      .option("--json", "print a list of objects, for programs")
      .action(async ({ json, network: name, host }: PsOptions) => {
        const overview = await withNetwork(context, ({ store, signal }) =>
          readOverview(store.records, signal),
        );
        const network = name === undefined ? null : selectNetwork(overview.networks, name);
        const members = overview.members.filter(
          (placed) =>
            (network === null || placed.network.id === network.id) &&
            (host === undefined || placed.host === host || placed.hostName === host),
        );
        if (json) context.out.json(members.map(containerToJson));
        else context.out.write(formatContainers(members, context.out));
        for (const problem of overview.problems) context.err.line(`tulle ps: ${problem}`);
      });
  },
};
