/** `tulle leases`: all leases of the network, and which of them the daemons reject. Reads only. */

import { formatJson } from "../../ipam/escape.ts";
import { type AuditedLease, auditLeases } from "../leases/lease-audit.ts";
import type { CommandModule } from "../terminal/command.ts";
import { formatLeases, leaseToJson } from "../terminal/lease-view.ts";
import { STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

export const leases: CommandModule = {
  daemonFlags: STORE_FLAGS,
  define(command, context) {
    command
      .option("--json", "print a list of objects, for programs")
      .action(async ({ json }: { readonly json?: true }) => {
        const listing = await withNetwork(context, ({ store, signal }) => store.feed.list(signal));
        const all: readonly AuditedLease[] = auditLeases(listing).leases;
        context.out.write(json ? `${formatJson(all.map(leaseToJson), 2)}\n` : formatLeases(all, context.out));
      });
  },
};
