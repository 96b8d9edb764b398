/**
 * The settings that a bug report shows and the secrets that it must not: of the daemon that runs, else of its service, else
 * of the command itself. A wrong setting, with which no daemon runs, is reported and does not prevent the report.
 */

import { errorMessage } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Settings } from "../config/settings.ts";
import { askControl } from "../report/control.ts";
import type { CommandContext, GivenSettings } from "../terminal/command.ts";
import { processSettings, serviceSettings } from "./given-settings.ts";
import { knownSecrets, type ShownSetting, secretFiles, shownSettings } from "./secrets.ts";

/** What the daemon answers to /settings. */
export interface RunningSettings {
  readonly pid: number;
  readonly settings: readonly ShownSetting[];
}

export interface ShownSettings {
  /** Where the settings are from, for a person. */
  readonly from: string;
  /** Why other sources could not be read, and what is probably a mistake. */
  readonly problems: readonly string[];
  readonly settings: readonly ShownSetting[];
}

export interface ReportedSettings {
  /** Where the daemon's files are. */
  readonly files: AgentConfig["files"];
  readonly shown: ShownSettings;
  readonly secrets: readonly string[];
}

const NOTHING: GivenSettings = { args: [], environment: {} };

/**
 * `serviceFile` is the unit's EnvironmentFile=. Throws ConfigError for wrong flags of the command itself, and the reason of
 * the context's signal when it fires.
 */
export async function reportedSettings(
  serviceFile: string,
  context: CommandContext,
): Promise<ReportedSettings> {
  const problems: string[] = [];
  const attempt = async <T>(read: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await read();
    } catch (error) {
      context.signal.throwIfAborted();
      problems.push(errorMessage(error));
      return null;
    }
  };
  const service = await attempt(() => serviceSettings(serviceFile));
  const beside = service && (await attempt(() => context.configBeside(service)));
  const own = beside ?? (await context.configBeside(NOTHING));
  const running = await attempt(() => askRunning(own.config.files.runDir, context.signal));
  const started = running && processSettings(running.pid);
  const daemon = started && (await attempt(() => context.configBeside(started)));
  const from = running
    ? `the daemon that runs, process ${running.pid}`
    : `${beside ? `${serviceFile}, ` : ""}flags and variables of tulle report`;
  const secretsOf = async (settings: Settings | null, given: GivenSettings): Promise<readonly string[]> => {
    const paths = settings === null ? [] : secretFiles(settings);
    const texts = await Promise.all(paths.map((path) => attempt(() => readForeignFile(path))));
    return knownSecrets(
      settings,
      given,
      texts.filter((text) => text !== null),
    );
  };
  return {
    files: own.config.files,
    shown: {
      from,
      problems: [...problems, ...own.warnings],
      settings: running?.settings ?? shownSettings(own.settings),
    },
    secrets: [
      ...(await secretsOf(own.settings, { args: [], environment: context.environment })),
      ...(await secretsOf(beside?.settings ?? null, service ?? NOTHING)),
      ...(await secretsOf(daemon?.settings ?? null, started ?? NOTHING)),
    ],
  };
}

async function askRunning(runDir: string, signal: AbortSignal): Promise<RunningSettings> {
  return (await askControl(runDir, "/settings", signal)) as RunningSettings;
}
