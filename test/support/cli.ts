/** The command line `tulle` inside the test's own process: the whole program but for the process around it. */

import { runProgram } from "../../agent/commands/program.ts";
import type { Environment } from "../../agent/config/settings.ts";
import { openTerminal, type TextStream } from "../../agent/terminal/terminal.ts";

export interface CliAnswer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command line; the environment is empty unless given. */
export async function runCli(
  args: readonly string[],
  options: {
    readonly environment?: Environment;
    readonly isTty?: boolean;
    readonly signal?: AbortSignal;
    /** Called after each write. */
    readonly onOutput?: () => void;
    /** Default a day in 2023. */
    readonly dateMs?: () => number;
  } = {},
): Promise<CliAnswer> {
  const { environment = {}, isTty = false, signal = new AbortController().signal } = options;
  const { dateMs = () => 1_700_000_000_000 } = options;
  const texts = { out: "", err: "" };
  const streamTo = (name: keyof typeof texts): TextStream => ({
    isTTY: isTty,
    ...{ rows: 24, columns: 80 },
    write: (text) => {
      texts[name] += text;
      options.onOutput?.();
    },
  });
  const code = await runProgram(args, {
    environment,
    out: openTerminal(streamTo("out"), environment),
    err: openTerminal(streamTo("err"), environment),
    signal,
    random: () => 0.5,
    dateMs,
  });
  return { code, ...texts };
}

/** The text without the sequences that terminal.ts puts around styled words. */
export function withoutStyles(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences begin with one
  return text.replace(/\x1b\[\d+m/g, "");
}
