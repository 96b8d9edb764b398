/** Which settings `tulle doctor` examines the host with, and the finding that says so. Pure. */

import type { DaemonSettings } from "../bug-report/daemon-settings.ts";
import type { AgentConfig } from "../config/config.ts";
import { bad, type Finding, ok } from "./finding.ts";

const SUBJECT = "settings";

/** Those of the daemon that runs, else of its service, else of the command alone. `serviceFile` may be absent. */
export function examinedSettings(
  serviceFile: string,
  { service, own, running, daemon, problems }: DaemonSettings,
): { readonly config: AgentConfig; readonly finding: Finding } {
  if (running !== null && daemon !== null && daemon.loaded !== null)
    return {
      config: daemon.loaded.config,
      finding: ok(SUBJECT, `those of the running daemon, process ${running.pid}`),
    };
  const { config } = own;
  if (service === null) return { config, finding: ok(SUBJECT, "flags and variables of this command") };
  if (service.loaded !== null) return { config, finding: ok(SUBJECT, `those of ${serviceFile}`) };
  const [problem = "they are wrong"] = problems;
  return {
    config,
    finding: bad(
      "fail",
      SUBJECT,
      `${serviceFile}: ${problem}`,
      `correct ${serviceFile}: tulled does not start with it`,
    ),
  };
}
