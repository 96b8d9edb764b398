/** `tulle report`: one file with everything that a bug report needs, without secrets. Changes nothing on the host. */

import { hostname } from "node:os";
import { ConfigError, ConflictError, errorMessage, hasCode } from "../../ipam/errors.ts";
import { writeArchive } from "../bug-report/archive.ts";
import { reportedSettings } from "../bug-report/reported-settings.ts";
import { redactText } from "../bug-report/secrets.ts";
import { collectSources } from "../bug-report/sources.ts";
import type { CommandModule } from "../terminal/command.ts";
import { withServiceFile } from "../terminal/service-file.ts";

interface ReportOptions {
  readonly output?: string;
  readonly serviceFile: string;
}

export const report: CommandModule = {
  daemonFlags: ["config", "run-dir", "state-dir", "subnet-file"],
  define(command, context) {
    const output = "the archive to create; default tulle-HOST-TIME.tar.gz in this folder";
    withServiceFile(command.option("--output <file>", output)).action(
      async ({ output, serviceFile }: ReportOptions) => {
        const date = new Date(context.dateMs());
        const name = `tulle-${hostname()}-${date.toISOString().replace(/[-:]|\.\d+/g, "")}`;
        const path = output ?? `${name}.tar.gz`;
        const { files, shown, secrets } = await reportedSettings(serviceFile, context);
        const sources = await collectSources(files, shown, context.signal);
        const entries = sources.map((one) => ({ ...one, text: redactText(one.text, secrets) }));
        await writeArchive(path, name, entries, date).catch((error: unknown) => {
          throw writeFailure(path, error);
        });
        context.out.line(
          `${path}: ${entries.length} files, readable by you alone; look through it before you send it`,
        );
      },
    );
  },
};

const IN_ANOTHER_FOLDER = "give an --output in a folder that you may write to";
const ON_ANOTHER_DISK = "free some space, or give an --output on another file system";

/** What to do about errors of the file system (errno(3)). */
const REMEDIES: Readonly<Record<string, string>> = {
  ...{ ENOENT: "create its folder, or give another --output" },
  ...{ EACCES: IN_ANOTHER_FOLDER, EPERM: IN_ANOTHER_FOLDER, EROFS: IN_ANOTHER_FOLDER },
  ...{ ENOSPC: ON_ANOTHER_DISK, EDQUOT: ON_ANOTHER_DISK },
};

function writeFailure(path: string, cause: unknown): Error {
  if (hasCode(cause, "EEXIST"))
    return new ConflictError(
      `${path} cannot be written: it exists already; remove it, or give another --output`,
      { cause },
    );
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const remedy = REMEDIES[code] ?? "give another --output";
  return new ConfigError(`${path} cannot be written: ${errorMessage(cause)}; ${remedy}`, { cause });
}
