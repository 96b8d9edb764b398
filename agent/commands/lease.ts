/**
 * `tulle lease`: shows, checks and changes single leases. A reservation is a lease without a time to live.
 *
 * Every write is a compare-and-swap against the revision that was examined: a lease that changed meanwhile stays.
 */

import type { Command } from "commander";
import { ConfigError } from "../../ipam/errors.ts";
import { listAffinityRecords } from "../../ipam/leases/affinity.ts";
import { withdrawLease } from "../../ipam/leases/withdrawal.ts";
import { resolveHosts } from "../host/resolve-hosts.ts";
import { auditAffinities } from "../leases/affinity-audit.ts";
import { readAuditingHost } from "../leases/auditing-host.ts";
import { auditLeases } from "../leases/lease-audit.ts";
import { planRelease, planReservation } from "../leases/lease-reservation.ts";
import { selectLease } from "../leases/lease-selector.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { formatLease, leaseToJson } from "../terminal/lease-view.ts";
import { readNamed, STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

const EXIT_PROBLEMS = 1;

const WHICH =
  "\nLEASE is a key (10.2.54.0-24), a subnet (10.2.54.0/24), a host's public address or node id, or any address\nin the subnet.";

export const lease: CommandModule = {
  daemonFlags: [...STORE_FLAGS, "state-dir", "subnet-lease-ttl"],
  define(command, context) {
    defineShow(command.command("show <lease>"), context);
    defineCheck(command.command("check"), context);
    defineReserve(command.command("reserve <subnet...>"), context);
    defineRelease(command.command("release <lease>"), context);
    defineRevoke(command.command("revoke <lease>"), context);
  },
};

function defineShow(command: Command, context: CommandContext): void {
  command
    .description("show everything about one lease")
    .option("--json", "print an object, for programs")
    .addHelpText("after", WHICH)
    .action(async (which: string, { json }: { readonly json?: true }) => {
      const { listing, hosts } = await withNetwork(context, readNamed);
      const found = selectLease(auditLeases(listing).leases, which);
      if (json) context.out.json(leaseToJson(found, hosts));
      else context.out.write(formatLease(found, hosts, context.out));
    });
}

function defineCheck(command: Command, context: CommandContext): void {
  command
    .description("find leases that daemons reject: overlaps, duplicates, stray keys")
    .addHelpText(
      "after",
      "\nOn a host of the network, leases that cut off what this host reaches are found as well. Subnets that are kept\nfor absent hosts are listed as notes.\nExit code: 0 no problem, 1 a problem was found or the check failed.",
    )
    .action(async () => {
      const { files } = await context.config();
      const { audit, affinities } = await withNetwork(context, async ({ store, remoteHosts, signal }) => {
        const listing = await store.feed.list(signal);
        const host = await readAuditingHost(files.stateDir, listing, await resolveHosts(remoteHosts));
        const affinities = await listAffinityRecords(store.records, signal);
        return { audit: auditLeases(listing, host), affinities };
      });
      const { leases, configProblem } = audit;
      const problems = [configProblem, ...leases.map(({ problem }) => problem)].filter(
        (text) => text !== null,
      );
      for (const problem of problems) context.out.line(problem);
      for (const note of auditAffinities(affinities, audit)) context.out.line(note);
      if (problems.length > 0) context.exitWith(EXIT_PROBLEMS);
      const counted = `${leases.length} ${leases.length === 1 ? "lease" : "leases"}`;
      context.out.line(`${counted}, ${problems.length === 0 ? "all in order" : `${problems.length} wrong`}`);
    });
}

function defineReserve(command: Command, context: CommandContext): void {
  command
    .description("reserve a subnet for one host, without expiry")
    .option("--public-ip <ip>", "the host's public IPv4 address; needed for a subnet that is not leased yet")
    .option("--public-ipv6 <ip>", "the host's public IPv6 address")
    .addHelpText(
      "after",
      "\nA lease in use becomes a reservation; traffic is not affected. In a dual-stack network give both subnets.",
    )
    .action(
      async (subnets: string[], options: { readonly publicIp?: string; readonly publicIpv6?: string }) => {
        await withNetwork(context, async ({ store, signal }) => {
          const audit = auditLeases(await store.feed.list(signal));
          const plan = planReservation(audit, { subnets, ...options });
          if (plan.type === "create")
            await store.leases.create(plan.key, plan.value, Number.POSITIVE_INFINITY, signal);
          else if (plan.type === "keep")
            await store.leases.replace(plan.entry, plan.entry.value, Number.POSITIVE_INFINITY, signal);
          context.out.line(`${plan.type === "none" ? "unchanged" : "reserved"}: ${plan.key}`);
        });
      },
    );
}

function defineRelease(command: Command, context: CommandContext): void {
  command
    .description("turn a reservation back into an ordinary lease")
    .addHelpText(
      "after",
      `${WHICH}\n\nThe host keeps it while its daemon runs; otherwise it expires after --subnet-lease-ttl. A reservation\nwhose host has not joined yet is deleted.`,
    )
    .action(async (which: string) => {
      const { lease: settings } = await context.config();
      await withNetwork(context, async ({ store, signal }) => {
        const found = selectLease(auditLeases(await store.feed.list(signal)).leases, which);
        const { key, entry } = found;
        const action = planRelease(found);
        if (action === "delete") await withdrawLease(store.leases, entry, signal);
        else if (action === "expire")
          await store.leases.replace(entry, entry.value, settings.ttlSeconds, signal);
        const done = { delete: "deleted", expire: "released", none: "unchanged, not a reservation" }[action];
        context.out.line(`${done}: ${key}`);
      });
    });
}

function defineRevoke(command: Command, context: CommandContext): void {
  command
    .description("delete a lease: its host must acquire another")
    .option("--yes", "delete it; without this option the command only explains the effect")
    .addHelpText(
      "after",
      `${WHICH}\n\nAll other hosts remove their routes to the subnet. A tulled that still runs leases the same subnet again;\nflanneld stops. To take the subnet from the host, stop its daemon first.`,
    )
    .action(async (which: string, { yes }: { readonly yes?: true }) => {
      await withNetwork(context, async ({ store, signal }) => {
        const { key, entry, attrs } = selectLease(auditLeases(await store.feed.list(signal)).leases, which);
        const host = Object.values(attrs?.publicAddress ?? {}).join(", ") || "an unknown host";
        if (!yes) {
          throw new ConfigError(
            `revoking ${key} would cut ${host} off from all other hosts; give --yes to do it`,
          );
        }
        await withdrawLease(store.leases, entry, signal);
        context.out.line(`revoked: ${key} of ${host}`);
      });
    });
}
