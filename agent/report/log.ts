/**
 * The real log: text or JSON lines on standard error, behind the Logger of ipam/log.ts.
 *
 * The only file that knows winston, which writes the lines from `loadWriter` on. Before, the log writes them itself:
 * loading winston takes a start as long as a tenth of its other work. Standard output is never written: it belongs to
 * command output.
 */

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
  /** Has winston write the lines from now on. Rejects when it cannot be loaded; the log goes on without it. */
  loadWriter(): Promise<void>;
}

/** Writes one line, without its end. */
type Writer = (level: LogLevel, line: string) => void;

/** From the most to the least urgent. */
const LEVELS = { error: 0, warn: 1, info: 2, debug: 3 } as const satisfies Record<LogLevel, number>;

/** Builds the log. Debug lines are written without a limit: a person switched them on to see each of them. */
export function createLogger(options: LogOptions): AdjustableLogger {
  const formatLine = options.format === "json" ? jsonLine : textLine;
  const limit = new LineLimit();
  const stream = options.stream ?? process.stderr;
  // A reader that is gone (EPIPE) or a full disk must not end the daemon, and a log has no other place to say so.
  stream.on("error", () => undefined);
  let shownLevel = options.level;
  let write: Writer = (_, line) => stream.write(`${line}\n`);
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      const isShown = LEVELS[level] <= LEVELS[shownLevel];
      const isEvent = level !== "debug" && options.onEvent !== undefined;
      if (!isShown && !isEvent) return;
      const time = options.now();
      const dropped = level === "debug" ? 0 : limit.admit(message, time.getTime());
      if (dropped === null) return;
      const all = dropped === 0 ? fields : { ...fields, suppressed: dropped };
      const entry = { time, level, message, fields: all };
      if (isEvent) options.onEvent?.(jsonLine(entry), level);
      if (isShown) write(level, formatLine(entry));
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    setLevel: (level) => {
      shownLevel = level;
    },
    loadWriter: async () => {
      write = await winstonWriter(stream);
    },
  };
}

async function winstonWriter(stream: NodeJS.WritableStream): Promise<Writer> {
  const { default: winston } = await import("winston");
  const logger = winston.createLogger({
    levels: LEVELS,
    level: "debug",
    format: winston.format.printf(({ message }) => String(message)),
    transports: [new winston.transports.Stream({ stream, eol: "\n" })],
  });
  return (level, line) => logger.log(level, line);
}
