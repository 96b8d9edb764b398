/**
 * `tulle cleanup`: removes what tulled created on this host.
 *
 * cleanup/plan.ts decides what is ours; this file removes it, and keeps the daemon from starting meanwhile.
 */

import { rm, stat } from "node:fs/promises";
import { unplannedObject } from "../../backends/firewall/engine.ts";
import { Toolset } from "../../backends/firewall/toolset.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { describe } from "../../backends/state/kinds/registry.ts";
import { TulleError } from "../../ipam/errors.ts";
import { withdrawLease } from "../../ipam/leases/withdrawal.ts";
import { silentLogger } from "../../ipam/log.ts";
import { readHostState, readNameServerAddress } from "../cleanup/host-state.ts";
import { type CleanupPlan, describeDevice, type HostState, planCleanup } from "../cleanup/plan.ts";
import { lockInstance, runningInstances } from "../host/instance-lock.ts";
import { auditLeases } from "../leases/lease-audit.ts";
import { peerRecordsIn } from "../network/peer-record.ts";
import { controlSocketPath, isControlServed } from "../report/control.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { errorLine } from "../terminal/error-line.ts";
import { STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

interface CleanupOptions {
  readonly dryRun?: true;
  readonly releaseLease?: true;
}

const HELP = `
Removed, with all that is on them:
  - tunnel devices that --state-dir's record knows by their hardware address, or that carry routes with our
    protocol number (116), unless flanneld runs here or has put its own routes on them;
  - routes and nexthops with our protocol number on devices named flannel.N, and such routes elsewhere to
    destinations in a network that --subnet-file or --state-dir names (DirectRouting);
  - the name server's address 169.254.53.53 on the loopback interface;
  - our firewall chains and tables, and the subnet file; where flanneld is here, only the chains that flanneld
    does not make: its own chains and the subnet file have the same names;
  - the control socket of a daemon that is gone, and the record of its peers in --state-dir;
  - with --release-lease this host's lease, found by its node id; a reservation stays one.
Left alone: everything else, such as Docker's and CNI's bridges, containers, net.ipv4.ip_forward, the rest
of --state-dir, and any device not shown to be ours. "tulle docker unset" restores Docker's own network.

Stop tulled first. Unless the lease is released, the host gets the same subnet if it returns before the lease expires.
Exit code: 1 when an object could not be removed.`;

export const cleanup: CommandModule = {
  daemonFlags: [...STORE_FLAGS, "state-dir", "run-dir", "subnet-file"],
  define(command, context) {
    command
      .option("--dry-run", "only list what would be removed")
      .option("--release-lease", "release this host's lease as well")
      .addHelpText("after", HELP)
      .action((options: CleanupOptions) => cleanUp(options, context));
  },
};

async function cleanUp(options: CleanupOptions, context: CommandContext): Promise<void> {
  const { files } = await context.config();
  await refuseBesideDaemon(files.runDir, options, context);
  const port = RtnetlinkPort.open();
  const report = new Report(options.dryRun ?? false, context);
  try {
    const host = await readHostState(port, files);
    const plan = planCleanup(host);
    const locks = await lockDevices(plan, options);
    try {
      await removeObjects(port, plan, host, report);
      if (plan.hasRun) await removeFirewall(report, !plan.ownsSharedNames);
      if (plan.ownsSharedNames) await removeFile(files.subnetFile, report);
      if (!(await isControlServed(files.runDir))) await removeFile(controlSocketPath(files.runDir), report);
      for (const path of peerRecordsIn(files.stateDir)) await removeFile(path, report);
      if (options.releaseLease) await releaseLease(host, report, context);
      for (const sentence of plan.leftAlone) report.leftAlone(sentence);
    } finally {
      for (const lock of locks) await lock.release();
    }
  } finally {
    port.close();
  }
  report.finish();
}

/** A daemon would restore everything, and packets of its peers would be lost meanwhile. */
async function refuseBesideDaemon(
  runDir: string,
  { dryRun }: CleanupOptions,
  { err }: CommandContext,
): Promise<void> {
  const devices = runningInstances();
  if (devices.length === 0 && !(await isControlServed(runDir))) return;
  const what = devices.length === 0 ? `listens in ${runDir}` : `manages ${devices.join(", ")}`;
  const message = `tulled runs on this host and ${what}: stop it first ("systemctl stop tulled")`;
  if (!dryRun) throw new TulleError("TULLE_ALREADY_RUNNING", message, { details: { devices } });
  err.line(`tulle: warning: ${message}; this lists what would be removed`);
}

/** Until they are released no tulled starts on these devices. */
async function lockDevices({ links }: CleanupPlan, { dryRun }: CleanupOptions) {
  return dryRun ? [] : await Promise.all(links.map(({ name }) => lockInstance(name)));
}

const KINDS = ["route", "nexthop"] as const;

async function removeObjects(
  port: RtnetlinkPort,
  { links, others }: CleanupPlan,
  { objects }: HostState,
  report: Report,
): Promise<void> {
  // Routes go before the nexthops and devices that they lead through.
  const routesFirst = others.toSorted((left, right) => KINDS.indexOf(left.kind) - KINDS.indexOf(right.kind));
  const names = await readNameServerAddress(port);
  const changes = [...routesFirst, ...names, ...links].map((object) => ({ op: "delete", object }) as const);
  const results = report.isDryRun ? changes.map(() => null) : await port.apply(changes);
  changes.forEach(({ object }, index) => {
    report.removed(
      object.kind === "link" ? describeDevice(object, objects) : describe(object),
      results[index] ?? null,
    );
  });
}

async function removeFirewall(report: Report, keepsFlannels: boolean): Promise<void> {
  const tools = new Toolset({ choice: "auto", log: silentLogger });
  try {
    const drifts = await tools.remove({ isDryRun: report.isDryRun, keepsFlannels });
    for (const drift of drifts) report.removed(`firewall: ${unplannedObject(drift)}`);
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    report.removed("firewall", error);
  }
}

async function removeFile(path: string, report: Report): Promise<void> {
  if ((await stat(path).catch(() => null)) === null) return;
  if (!report.isDryRun) await rm(path, { force: true });
  report.removed(`file ${path}`);
}

async function releaseLease({ identity }: HostState, report: Report, context: CommandContext): Promise<void> {
  if (identity === null) {
    report.leftAlone("the lease: state-dir holds no identity, so it cannot be identified");
    return;
  }
  await withNetwork(context, async ({ store, signal }) => {
    const { leases } = auditLeases(await store.feed.list(signal));
    const own = leases.find(({ attrs }) => attrs?.nodeId === identity.nodeId);
    if (own === undefined) report.leftAlone("the lease: the store has none with this host's node id");
    else if (own.isReservation)
      report.leftAlone(`lease ${own.key}: a reservation; "tulle lease revoke" deletes it`);
    else {
      if (!report.isDryRun) await withdrawLease(store.leases, own.entry, signal);
      report.removed(`lease ${own.key}`);
    }
  });
}

/** Prints each step as it happens. */
class Report {
  readonly isDryRun: boolean;
  readonly #context: CommandContext;
  #removed = 0;
  #failed = 0;

  constructor(isDryRun: boolean, context: CommandContext) {
    this.isDryRun = isDryRun;
    this.#context = context;
  }

  removed(what: string, error: TulleError | null = null): void {
    if (error === null) {
      this.#removed += 1;
      this.#context.out.line(`${this.isDryRun ? "would remove" : "removed"} ${what}`);
    } else {
      this.#failed += 1;
      this.#context.err.write(errorLine("tulle", error));
    }
  }

  leftAlone(sentence: string): void {
    this.#context.out.line(`left alone ${sentence}`);
  }

  finish(): void {
    if (this.#removed + this.#failed === 0) this.#context.out.line("nothing of ours is here");
    if (this.#failed > 0) this.#context.exitWith(1);
  }
}
