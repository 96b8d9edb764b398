/**
 * `tulle docker setup` and `unset`: dockerd on tulled's subnet, and back.
 *
 * Changes only its own settings in the administrator's files, and restarts dockerd only when asked to.
 */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { type Command, Option } from "commander";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { type BridgeFacts, readBridgeFacts } from "../docker/bridge-facts.ts";
import type { SetupTarget } from "../docker/collisions.ts";
import { parseDaemonJson } from "../docker/daemon-json.ts";
import { hostResolvers } from "../docker/dns.ts";
import { applyChanges, type FileChange, readText } from "../docker/file-change.ts";
import { bridgeFindings, DOCKER_BRIDGE, isBridgeElsewhere, settingFindings } from "../docker/findings.ts";
import { planSetup, readSubnetFile } from "../docker/setup.ts";
import { planUnset, type SetupPaths } from "../docker/setup-changes.ts";
import { formatDiff } from "../docker/text-diff.ts";
import { validate } from "../docker/validate.ts";
import { lastingPath } from "../host/own-programs.ts";
import { isNameServerThere } from "../names/probe.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";

interface DockerOptions {
  readonly daemonJson: string;
  readonly unitDir: string;
  readonly subnetFile: string;
  readonly tulle?: string;
  readonly into?: SetupTarget;
  /** False with --no-names. */
  readonly names: boolean;
  readonly dryRun?: true;
  readonly restart?: true;
}

const SETUP_HELP = `
With --into daemon-json the settings bip, mtu and ip-masq (with IPv6 also ipv6 and fixed-cidr-v6) are written into
daemon.json; every other byte stays, and the file as it was is kept beside it as daemon.json.before-tulle.
With --into drop-in systemd asks for the subnet at each start of Docker; the same options in docker.service are
replaced. Without --into: the drop-in where the service has such options, else daemon.json.

Where tulled serves names of named networks, "dns" in daemon.json begins with tulled's name server; behind it stay the
servers that were there, or come the host's.

Options that dockerd would refuse beside the subnet, in the unit, its drop-ins, their variables and files, or in
daemon.json, are named before anything is written; where dockerd has --validate, it checks the result too.

A second run changes nothing. dockerd must be restarted for a new subnet or MTU; --restart does that, and only then.`;

export const docker: CommandModule = {
  define(command, context) {
    addCommonOptions(command.command("setup").description("make dockerd use this host's subnet and MTU"))
      .addOption(new Option("--into <place>", "where the settings go").choices(["daemon-json", "drop-in"]))
      .option("--subnet-file <file>", "subnet.env, as tulled writes it", DEFAULT_PATHS.subnetFile)
      .option("--tulle <path>", "the program that the drop-in calls (default: the path of this one)")
      .option("--no-names", "leave Docker's DNS servers as they are")
      .addHelpText("after", SETUP_HELP)
      .action((options: DockerOptions) => setUp(options, context));
    addCommonOptions(command.command("unset").description("remove the settings again")).action(
      async (options: DockerOptions) => {
        const changes = await planUnset(pathsOf({ ...options, subnetFile: "" }));
        await carryOut(changes, changes.length > 0, options, context);
      },
    );
  },
};

function addCommonOptions(command: Command): Command {
  return command
    .option("--daemon-json <file>", "Docker's configuration", "/etc/docker/daemon.json")
    .option("--unit-dir <dir>", "the administrator's systemd units", "/etc/systemd/system")
    .option("--dry-run", "show what would change, and change nothing")
    .option("--restart", "restart a running docker.service if necessary");
}

async function setUp(options: DockerOptions, context: CommandContext): Promise<void> {
  const paths = pathsOf(options);
  const subnet = await readSubnetFile(paths.subnetFile);
  const { env } = subnet;
  // Without a name server there, each lookup of a container would wait for seconds.
  const resolvers = options.names && (await isNameServerThere()) ? await hostResolvers() : null;
  const tulle = options.tulle ?? lastingPath(context.environment.PATH ?? "");
  const target = options.into ?? null;
  const { changes, warnings, start } = await planSetup({ target, subnet, tulle, paths, resolvers });
  if (start !== null && changes.length > 0) await validate(start);
  const facts = readBridgeFacts(DOCKER_BRIDGE);
  const findings = [...warnings, ...bridgeFindings(env, facts), ...(await findingsIn(paths.daemonJson))];
  for (const finding of findings) {
    context.err.line(`tulle: warning: ${finding}`);
  }
  const needsRestart = isBridgeElsewhere(env, facts) || hasOtherMtu(changes, facts) || hasOtherDns(changes);
  await carryOut(changes, needsRestart, options, context);
}

function pathsOf({ subnetFile, daemonJson, unitDir }: DockerOptions): SetupPaths {
  return { subnetFile, daemonJson, unitDirectory: unitDir };
}

async function findingsIn(daemonJson: string): Promise<string[]> {
  return settingFindings(parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson));
}

/** A changed MTU shows only in the file: a bridge without containers has not taken it yet. */
function hasOtherMtu(changes: readonly FileChange[], { addresses }: BridgeFacts): boolean {
  return addresses !== null && changesSetting(changes, "mtu");
}

/** dockerd reads them at its start only. */
function hasOtherDns(changes: readonly FileChange[]): boolean {
  return changesSetting(changes, "dns");
}

function changesSetting(changes: readonly FileChange[], key: string): boolean {
  return changes.some(({ path, before, after }) => {
    if (!path.endsWith(".json")) return false;
    const [left, right] = [before, after].map((text) => parseDaemonJson(text ?? "", path)[key]);
    return JSON.stringify(left) !== JSON.stringify(right);
  });
}

async function carryOut(
  changes: readonly FileChange[],
  needsRestart: boolean,
  { dryRun, restart }: DockerOptions,
  { out, signal }: CommandContext,
): Promise<void> {
  if (!dryRun) await applyChanges(changes);
  for (const change of changes) {
    if (dryRun) out.write(formatDiff(change.path, change.before, change.after));
    else out.line(`${change.path} ${change.after === null ? "removed" : "written"}`);
  }
  if (changes.length === 0) out.write("nothing to change\n");
  if (dryRun) return;
  if (changes.some(({ path }) => path.endsWith(".conf"))) await systemctl(["daemon-reload"], signal);
  if (!needsRestart) return;
  // Without waiting: this may run while systemd holds Docker's start back until we are done.
  if (restart) await systemctl(["--no-block", "try-restart", "docker.service"], signal);
  else out.write("restart Docker to apply it: systemctl restart docker\n");
}

/** Does nothing where systemd does not run (sd_booted(3)). */
async function systemctl(args: readonly string[], signal: AbortSignal): Promise<void> {
  if (!existsSync("/run/systemd/system")) return;
  try {
    await promisify(execFile)("systemctl", [...args], { signal });
  } catch (error) {
    throw new TulleError(
      "TULLE_PREREQUISITE",
      `systemctl ${args.join(" ")} failed (${errorMessage(error)}): the files are written; run it yourself`,
      { cause: error },
    );
  }
}
