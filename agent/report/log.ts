/**
 * The real log: winston behind the Logger of ipam/log.ts, text or JSON lines on standard error.
 *
 * The only file that knows winston. Standard output is never written: it belongs to command output.
 */

import winston from "winston";
import type { LogFields, Logger } from "../../ipam/log.ts";
import type { LogFormat, LogLevel } from "../config/config.ts";
import { LineLimit } from "./line-limit.ts";
import { jsonLine, textLine } from "./log-line.ts";

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Wall clock, for the lines' time. */
  readonly now: () => Date;
  /** Where lines go; standard error unless a test wants to read them. */
  readonly stream?: NodeJS.WritableStream;
  /** Called with each change of state, a JSON line of level info or above, whatever the level of the log. */
  readonly onEvent?: (line: string, level: LogLevel) => void;
}

/** A Logger whose level can change while the daemon runs. */
export interface AdjustableLogger extends Logger {
  setLevel(level: LogLevel): void;
}

/** Builds the log. Debug lines are written without a limit: a person switched them on to see each of them. */
export function createLogger(options: LogOptions): AdjustableLogger {
  const formatLine = options.format === "json" ? jsonLine : textLine;
  const limit = new LineLimit();
  const stream = options.stream ?? process.stderr;
  // A reader that is gone (EPIPE) or a full disk must not end the daemon, and a log has no other place to say so.
  stream.on("error", () => undefined);
  const logger = winston.createLogger({
    level: options.level,
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: winston.format.printf(({ level, message, fields }) =>
      formatLine({ time: options.now(), level, message: String(message), fields: fields as LogFields }),
    ),
    transports: [new winston.transports.Stream({ stream, eol: "\n" })],
  });
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      // Checked here because winston does half of its work before it looks at the level.
      const isShown = logger.isLevelEnabled(level);
      const isEvent = level !== "debug" && options.onEvent !== undefined;
      if (!isShown && !isEvent) return;
      const time = options.now();
      const dropped = level === "debug" ? 0 : limit.admit(message, time.getTime());
      if (dropped === null) return;
      const all = dropped === 0 ? fields : { ...fields, suppressed: dropped };
      if (isEvent) options.onEvent?.(jsonLine({ time, level, message, fields: all }), level);
      if (isShown) logger.log(level, message, { fields: all });
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    setLevel: (level) => {
      logger.level = level;
    },
  };
}
