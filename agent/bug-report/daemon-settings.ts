/**
 * The settings of this host's daemon, for commands that examine it: of the process that runs, else of its service. What
 * the command itself is given takes precedence over both.
 */

import { errorMessage } from "../../ipam/errors.ts";
import type { LoadedConfig } from "../config/config.ts";
import { askControl } from "../report/control.ts";
import type { CommandContext, GivenSettings } from "../terminal/command.ts";
import { processSettings, serviceSettings } from "./given-settings.ts";
import type { ShownSetting } from "./secrets.ts";

/** What the daemon answers to /settings. */
export interface RunningSettings {
  readonly pid: number;
  readonly settings: readonly ShownSetting[];
}

/** What a program was given. `loaded`: the configuration of that and of the command's own settings; null if it is wrong. */
export interface SettingsSource {
  readonly given: GivenSettings;
  readonly loaded: LoadedConfig | null;
}

export interface DaemonSettings {
  /** Null where the service has no file. */
  readonly service: SettingsSource | null;
  /** Of the service where these are right, else of the command alone. */
  readonly own: LoadedConfig;
  /** Null where no daemon answers. */
  readonly running: RunningSettings | null;
  /** Of the process that answers; null also where it cannot be read, as that of a daemon in a container. */
  readonly daemon: SettingsSource | null;
  /** Why a source could not be read. */
  readonly problems: readonly string[];
}

const NOTHING: GivenSettings = { args: [], environment: {} };

/**
 * `serviceFile` is the unit's EnvironmentFile=. Throws ConfigError for wrong flags of the command itself, and the reason of
 * the context's signal when it fires.
 */
export async function readDaemonSettings(
  serviceFile: string,
  context: CommandContext,
): Promise<DaemonSettings> {
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
  const load = async (given: GivenSettings | null): Promise<SettingsSource | null> =>
    given && { given, loaded: await attempt(() => context.configBeside(given)) };
  const service = await load(await attempt(() => serviceSettings(serviceFile)));
  const own = service?.loaded ?? (await context.configBeside(NOTHING));
  const running = await attempt(() => askRunning(own.config.files.runDir, context.signal));
  const daemon = running && (await load(processSettings(running.pid)));
  return { service, own, running, daemon, problems };
}

async function askRunning(runDir: string, signal: AbortSignal): Promise<RunningSettings> {
  return (await askControl(runDir, "/settings", signal)) as RunningSettings;
}
