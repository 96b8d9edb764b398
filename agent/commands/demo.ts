/**
 * `tulle demo`: a network of three hosts on this machine, in namespaces that it makes and removes.
 *
 * Nothing of it touches the machine's own network. Without root it runs in a user namespace.
 */

import { once } from "node:events";
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { Lab } from "../demo/lab.ts";
import { EXIT_INTERRUPTED, enteringCommand, launch, requireTools } from "../demo/launch.ts";
import { tellStory } from "../demo/story.ts";
import { keepHint } from "../demo/view.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";

interface DemoOptions {
  readonly keep?: true;
  /** Given by ourselves to the process that does the work. */
  readonly launched?: true;
}

export const demo: CommandModule = {
  define(command, context) {
    command
      .option("--keep", "leave it up until Ctrl-C, and say how to look around")
      .addOption(command.createOption("--launched").hideHelp())
      .action((options: DemoOptions) => {
        // A signal may be repeated, by npm, an impatient person or the kernel (once for each thread of a parent that
        // dies): the first one counts, the others must not end what it set going.
        for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => {});
        return options.launched ? runDemo(options, context) : start(context);
      });
  },
};

async function start({ environment, signal, exitWith }: CommandContext): Promise<void> {
  requireTools(environment.PATH ?? "");
  exitWith(await launch([...process.argv.slice(1), "--launched"], signal));
}

async function runDemo(options: DemoOptions, context: CommandContext): Promise<void> {
  const { out, signal, random, dateMs, exitWith } = context;
  out.write(`\n${out.style("bold", "tulle demo")}: three hosts on this machine become one network\n\n`);
  const programs = dirname(realpathSync(process.argv[1] ?? ""));
  const lab = new Lab({ name: `tulle-demo-${process.ppid}`, programs });
  // Whatever step is under way ends when its namespaces do.
  signal.addEventListener("abort", () => lab.dispose(), { once: true });
  try {
    const environment = { log: silentLogger, clock: systemClock, random, dateMs };
    await tellStory(lab, { out, signal, environment });
    if (options.keep) {
      out.write(keepHint(lab, programs, enteringCommand(), out));
      if (!signal.aborted) await once(signal, "abort");
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    exitWith(EXIT_INTERRUPTED);
  } finally {
    lab.dispose();
    out.write(`\n${out.style("dim", "all of it is removed again")}\n`);
  }
}
