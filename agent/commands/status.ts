/**
 * `tulle status`: asks the running daemon over its socket and shows the answer.
 *
 * It examines nothing on its own. `tulle doctor` does, also when no daemon answers.
 */

import { pause, systemClock } from "../../ipam/clock.ts";
import { ConfigError } from "../../ipam/errors.ts";
import { askStatus } from "../report/ask-status.ts";
import { askControl } from "../report/control.ts";
import type { StatusReport } from "../report/status.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { errorLine, escapeSentence } from "../terminal/error-line.ts";
import { formatStatus, type StatusViewOptions } from "../terminal/status-view.ts";

const EXIT_NOT_READY = 1;
const EXIT_NO_ANSWER = 2;
const WATCH_INTERVAL_MS = 1000;

interface StatusOptions {
  readonly json?: true;
  readonly peers?: true;
  readonly watch?: true;
}

export const status: CommandModule = {
  daemonFlags: ["config", "run-dir"],
  define(command, context) {
    const { err } = context;
    command
      .option("--json", "print the answer of the daemon, for programs")
      .option("--watch", "show it in place, problems first, every second, until you interrupt")
      .option("--peers", "list all peers, not only the first ones")
      .addHelpText("after", "\nExit code: 0 ready, 1 not ready, 2 the daemon does not answer.")
      .action(async (options: StatusOptions) => {
        try {
          if (options.watch) await watchStatus(options, context);
          else if (!(await showStatus(options, context))) context.exitWith(EXIT_NOT_READY);
        } catch (error) {
          err.write(errorLine("tulle", error));
          context.exitWith(EXIT_NO_ANSWER);
        }
      });
  },
};

/** Writes the status once; true when the host is ready. */
async function showStatus({ json, peers }: StatusOptions, context: CommandContext): Promise<boolean> {
  const { out } = context;
  const report = await readStatus(context);
  if (json) out.json(report);
  else out.write(await statusText(report, { listPeers: peers ?? false }, context));
  return report?.isReady ?? false;
}

/** Writes the status in place, every second, until the user interrupts. */
async function watchStatus({ peers, json }: StatusOptions, context: CommandContext): Promise<void> {
  const { out, signal } = context;
  if (json) throw new ConfigError("--watch is for people and --json for programs: leave one of them out");
  if (!out.isInteractive) {
    throw new ConfigError(
      "--watch writes over the screen, and standard output is not a terminal: leave it out",
    );
  }
  const options = { listPeers: peers ?? false, problemsFirst: true };
  let text = "";
  out.followSize(() => out.showInstead(text), signal);
  while (!signal.aborted) {
    text = await readStatus(context)
      .then((report) => statusText(report, options, context))
      .catch((error: unknown) => errorLine("tulle", error));
    if (signal.aborted) return;
    out.showInstead(text);
    await pause(systemClock, WATCH_INTERVAL_MS, signal);
  }
}

async function readStatus(context: CommandContext): Promise<StatusReport | null> {
  const { files } = await context.config();
  return await askStatus(files.runDir, context.signal);
}

async function statusText(
  report: StatusReport | null,
  options: Pick<StatusViewOptions, "listPeers" | "problemsFirst">,
  context: CommandContext,
): Promise<string> {
  if (report !== null) {
    return formatStatus(report, { ...options, nowMs: systemClock.monotonicMs(), terminal: context.out });
  }
  const { files } = await context.config();
  const reason = escapeSentence(String(await askControl(files.runDir, "/summary", context.signal)));
  return `the daemon runs, but has not joined its network yet: ${reason}\n`;
}
