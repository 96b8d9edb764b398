/** `tulle events`: the last changes of state on this host, from the running daemon or from what the last one kept. */

import { ConfigError } from "../../ipam/errors.ts";
import { formatJson } from "../../ipam/escape.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { MOST_EVENTS } from "../report/event-log.ts";
import { latestEvents } from "../report/latest-events.ts";
import { fieldWords } from "../report/log-line.ts";
import type { CommandModule } from "../terminal/command.ts";
import type { Style, Terminal } from "../terminal/terminal.ts";

interface EventsOptions {
  readonly json?: true;
  readonly last: number;
}

export const events: CommandModule = {
  daemonFlags: ["config", "run-dir", "state-dir"],
  define(command, context) {
    const { out } = context;
    command
      .option("--last <events>", `only the last ones, 1 to ${MOST_EVENTS}`, parseLast, MOST_EVENTS)
      .option("--json", "print one object for each line, for programs")
      .action(async ({ json, last }: EventsOptions) => {
        const all = await latestEvents((await context.config()).files, context.signal);
        for (const event of all.slice(-last)) {
          if (json) out.write(`${formatJson(event)}\n`);
          else showEvent(event, out);
        }
      });
  },
};

const STYLES: Readonly<Record<string, Style>> = { warn: "yellow", error: "red" };

/** As in the log; a line break in a value is escaped. */
function showEvent({ time, level, message, ...fields }: JsonObject, out: Terminal): void {
  const words = [String(time), String(level).padEnd(5), String(message), ...fieldWords(fields)];
  const style = STYLES[String(level)];
  const text = words.join(" ");
  if (style === undefined) out.line(text);
  else out.write(`${out.style(style, text)}\n`);
}

/** Throws ConfigError. */
function parseLast(text: string): number {
  const last = Number(text);
  if (/^\d+$/.test(text) && last >= 1 && last <= MOST_EVENTS) return last;
  throw new ConfigError(`--last is "${text}"; write a whole number from 1 to ${MOST_EVENTS}`);
}
