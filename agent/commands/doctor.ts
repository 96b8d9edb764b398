/** `tulle doctor`: finds out why the network does not work on this host. Reads only. */

import { FLAG_NAMES, type FlagName, flagOf } from "../config/flags.ts";
import { formatFindings } from "../doctor/finding-view.ts";
import type { CommandModule } from "../terminal/command.ts";
import { STORE_FLAGS } from "../terminal/open-network.ts";
import { withServiceFile } from "../terminal/service-file.ts";

/** Those that decide what it examines. */
const FLAGS: readonly FlagName[] = [
  ...STORE_FLAGS,
  ...FLAG_NAMES.filter((name) => flagOf(name).group === "Interface"),
  "firewall",
  "state-dir",
  "run-dir",
];

const HELP = `
It uses the settings of the running daemon, else those of its service. Flags and variables of this command take
precedence over both.
ok: in order. warn: probably a mistake. fail: the network does not work. skip: could not be examined.

Exit code: 0 no check failed, 1 a check failed.`;

interface DoctorOptions {
  readonly json?: true;
  readonly serviceFile: string;
}

export const doctor: CommandModule = {
  daemonFlags: FLAGS,
  define(command, context) {
    withServiceFile(command.option("--json", "print a list of findings, for programs"))
      .addHelpText("after", HELP)
      .action(async ({ json, serviceFile }: DoctorOptions) => {
        const { examine } = await import("../doctor/examine.ts");
        const findings = await examine(context, serviceFile);
        if (findings.some(({ verdict }) => verdict === "fail")) context.exitWith(1);
        if (json) context.out.json(findings);
        else context.out.write(formatFindings(findings, context.out));
      });
  },
};
