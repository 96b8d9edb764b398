/**
 * The settings that a bug report shows and the secrets that it must not: of the daemon that runs, else of its service, else
 * of the command itself. A wrong setting, with which no daemon runs, is reported and does not prevent the report.
 */

import { errorMessage } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Settings } from "../config/settings.ts";
import type { CommandContext, GivenSettings } from "../terminal/command.ts";
import { readDaemonSettings, type SettingsSource } from "./daemon-settings.ts";
import { knownSecrets, type ShownSetting, secretFiles, shownSettings } from "./secrets.ts";

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

/**
 * `serviceFile` is the unit's EnvironmentFile=. Throws ConfigError for wrong flags of the command itself, and the reason of
 * the context's signal when it fires.
 */
export async function reportedSettings(
  serviceFile: string,
  context: CommandContext,
): Promise<ReportedSettings> {
  const { service, own, running, daemon, problems } = await readDaemonSettings(serviceFile, context);
  const from = running
    ? `the daemon that runs, process ${running.pid}`
    : `${service?.loaded ? `${serviceFile}, ` : ""}flags and variables of tulle report`;
  const unread: string[] = [];
  const secretsOf = (settings: Settings | null, given: GivenSettings): readonly string[] => {
    const paths = settings === null ? [] : secretFiles(settings);
    const texts = paths.map((path) => readOrNote(path, unread)).filter((text) => text !== null);
    return knownSecrets(settings, given, texts);
  };
  const ofSource = (source: SettingsSource | null): readonly string[] =>
    source === null ? [] : secretsOf(source.loaded?.settings ?? null, source.given);
  const secrets = [
    ...secretsOf(own.settings, { args: [], environment: context.environment }),
    ...ofSource(service),
    ...ofSource(daemon),
  ];
  return {
    files: own.config.files,
    shown: {
      from,
      problems: [...problems, ...unread, ...own.warnings],
      settings: running?.settings ?? shownSettings(own.settings),
    },
    secrets,
  };
}

/** Null, with the reason in `unread`, for a file that cannot be read. */
function readOrNote(path: string, unread: string[]): string | null {
  try {
    return readForeignFile(path);
  } catch (error) {
    unread.push(errorMessage(error));
    return null;
  }
}
