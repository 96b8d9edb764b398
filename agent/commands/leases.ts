/** `tulle leases`: all leases of the network, and which of them the daemons reject. Reads only. */

import { type AuditedLease, auditLeases } from "../leases/lease-audit.ts";
import type { CommandModule } from "../terminal/command.ts";
import { formatLeases, leaseToJson } from "../terminal/lease-view.ts";
import { readNamed, STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

export const leases: CommandModule = {
  daemonFlags: STORE_FLAGS,
  define(command, context) {
    command
      .option("--json", "print a list of objects, for programs")
      .action(async ({ json }: { readonly json?: true }) => {
        const { listing, hosts } = await withNetwork(context, readNamed);
        const all: readonly AuditedLease[] = auditLeases(listing).leases;
        if (json) context.out.json(all.map((one) => leaseToJson(one, hosts)));
        else context.out.write(formatLeases(all, hosts, context.out));
      });
  },
};
