/**
 * `tulle status`: asks the running daemon over its socket and shows the answer.
 *
 * It examines nothing on its own. `tulle doctor` does, also when no daemon answers.
 */

import { systemClock } from "../../ipam/clock.ts";
import { CodecError } from "../../ipam/errors.ts";
import { formatJson } from "../../ipam/escape.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { askControl } from "../report/control.ts";
import type { StatusReport } from "../report/status.ts";
import type { CommandModule } from "../terminal/command.ts";
import { errorLine } from "../terminal/error-line.ts";
import { formatStatus } from "../terminal/status-view.ts";

const EXIT_NOT_READY = 1;
const EXIT_NO_ANSWER = 2;
const ANSWER_WITHIN_MS = 5000;

interface StatusOptions {
  readonly json?: true;
  readonly peers?: true;
}

export const status: CommandModule = {
  daemonFlags: ["config", "run-dir"],
  define(command, context) {
    const { out, err } = context;
    command
      .option("--json", "print the answer of the daemon, for programs")
      .option("--peers", "list all peers, not only the first ones")
      .addHelpText("after", "\nExit code: 0 ready, 1 not ready, 2 the daemon does not answer.")
      .action(async (options: StatusOptions) => {
        try {
          const { files } = await context.config();
          const signal = AbortSignal.any([context.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
          const report = readReport(await askControl(files.runDir, "/status", signal));
          if (!report?.isReady) context.exitWith(EXIT_NOT_READY);
          if (options.json) out.write(`${formatJson(report, 2)}\n`);
          else if (report === null) {
            const reason = await askControl(files.runDir, "/summary", signal);
            out.line(`the daemon runs, but has not joined its network yet: ${reason}`);
          } else {
            const listPeers = options.peers ?? false;
            out.write(formatStatus(report, { nowMs: systemClock.monotonicMs(), listPeers, terminal: out }));
          }
        } catch (error) {
          err.write(errorLine("tulle", error));
          context.exitWith(EXIT_NO_ANSWER);
        }
      });
  },
};

/** Checks only that it is a report; a daemon of another version may say more or less in it. */
function readReport(answer: unknown): StatusReport | null {
  if (answer === null) return null;
  if (isJsonObject(answer) && typeof answer.isReady === "boolean" && isJsonObject(answer.kernel)) {
    return answer as unknown as StatusReport;
  }
  throw new CodecError("the daemon's answer is not a status: its version may differ; restart it");
}
