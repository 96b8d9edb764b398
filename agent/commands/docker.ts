/**
 * `tulle docker setup` and `unset`: dockerd on tulled's subnet, and back.
 *
 * Edits the administrator's files no further than it must, and restarts dockerd only when asked to.
 */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import { type Command, Option } from "commander";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { type BridgeFacts, readBridgeFacts } from "../docker/bridge-facts.ts";
import { parseDaemonJson } from "../docker/daemon-json.ts";
import { applyChanges, type FileChange, readText } from "../docker/file-change.ts";
import { bridgeFindings, DOCKER_BRIDGE, isBridgeElsewhere, settingFindings } from "../docker/findings.ts";
import {
  chooseTarget,
  planDaemonJson,
  planDropIn,
  planUnset,
  readSubnetFile,
  type SetupPaths,
  type SetupTarget,
} from "../docker/setup.ts";
import { formatDiff } from "../docker/text-diff.ts";
import type { CommandContext, CommandModule } from "./command.ts";

interface DockerOptions {
  readonly daemonJson: string;
  readonly unitDir: string;
  readonly subnetFile: string;
  readonly tulle: string;
  readonly into?: SetupTarget;
  readonly dryRun?: true;
  readonly restart?: true;
}

const SETUP_HELP = `
With --into daemon-json the settings bip, mtu and ip-masq (with IPv6 also ipv6 and fixed-cidr-v6) are written into
daemon.json; every other byte stays, and the file as it was is kept beside it as daemon.json.before-tulle.
With --into drop-in systemd asks for the subnet at each start of Docker; options that docker.service gives by
hand are replaced. Without --into: the drop-in where such options stand, else daemon.json.

A second run changes nothing. dockerd must be restarted for a new subnet or MTU; --restart does that, and only then.`;

export const docker: CommandModule = {
  define(command, context) {
    addCommonOptions(command.command("setup").description("make dockerd use this host's subnet and MTU"))
      .addOption(new Option("--into <place>", "where the settings go").choices(["daemon-json", "drop-in"]))
      .option("--subnet-file <file>", "subnet.env, as tulled writes it", "/run/flannel/subnet.env")
      .option("--tulle <path>", "this program, as the drop-in shall call it", "/usr/bin/tulle")
      .addHelpText("after", SETUP_HELP)
      .action((options: DockerOptions) => setUp(options, context));
    addCommonOptions(command.command("unset").description("take the settings out again")).action(
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
    .option("--restart", "restart a running docker.service if it must be");
}

async function setUp(options: DockerOptions, context: CommandContext): Promise<void> {
  const paths = pathsOf(options);
  const { env, settings } = await readSubnetFile(paths.subnetFile);
  const target = await chooseTarget(options.into ?? null, paths);
  const changes =
    target === "drop-in" ? await planDropIn(options.tulle, paths) : await planDaemonJson(settings, paths);
  const facts = readBridgeFacts(DOCKER_BRIDGE);
  for (const finding of [...bridgeFindings(env, facts), ...(await findingsIn(paths.daemonJson))]) {
    context.err.line(`tulle: warning: ${finding}`);
  }
  await carryOut(changes, isBridgeElsewhere(env, facts) || hasOtherMtu(changes, facts), options, context);
}

function pathsOf({ subnetFile, daemonJson, unitDir }: DockerOptions): SetupPaths {
  return { subnetFile, daemonJson, unitDirectory: unitDir };
}

async function findingsIn(daemonJson: string): Promise<string[]> {
  return settingFindings(parseDaemonJson((await readText(daemonJson)) ?? "", daemonJson));
}

/** An MTU alone shows in the file only: a bridge without containers has not taken it yet. */
function hasOtherMtu(changes: readonly FileChange[], { addresses }: BridgeFacts): boolean {
  if (addresses === null) return false;
  return changes.some(({ path, before, after }) => {
    if (!path.endsWith(".json")) return false;
    return parseDaemonJson(before ?? "", path).mtu !== parseDaemonJson(after ?? "", path).mtu;
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

/** Where no systemd runs (sd_booted(3)) there is nothing to tell it. */
async function systemctl(args: readonly string[], signal: AbortSignal): Promise<void> {
  if (!existsSync("/run/systemd/system")) return;
  try {
    await promisify(execFile)("systemctl", [...args], { signal });
  } catch (error) {
    throw new TulleError(
      "TULLE_PREREQUISITE",
      `systemctl ${args.join(" ")} failed (${errorMessage(error)}): the files are written; do it by hand`,
      { cause: error },
    );
  }
}
