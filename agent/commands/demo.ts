/**
 * `tulle demo`: creates a network of three hosts in namespaces of this machine, shows it and removes it.
 *
 * It never touches the machine's own network. Without root it runs in a user namespace. It needs util-linux alone.
 */

import { once } from "node:events";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { Lab } from "../demo/lab.ts";
import { EXIT_INTERRUPTED, enteringCommand, launch } from "../demo/launch.ts";
import { createNamespace } from "../demo/namespace.ts";
import { tellStory } from "../demo/story.ts";
import { keepHint } from "../demo/view.ts";
import { commandOf } from "../host/own-programs.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";

interface DemoOptions {
  readonly keep?: true;
  /** Set for the process that does the work, by the one that launches it. */
  readonly launched?: true;
}

export const demo: CommandModule = {
  define(command, context) {
    command
      .option("--keep", "keep the hosts until Ctrl-C, and print commands to examine them")
      .addOption(command.createOption("--launched").hideHelp())
      .action((options: DemoOptions) => {
        // npm, a person or the kernel (once for each thread of a parent that dies) may repeat a signal: the first one
        // starts the removal, and later ones must not end it.
        for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => {});
        return options.launched ? runDemo(options, context) : start(context);
      });
  },
};

async function start({ signal, exitWith }: CommandContext): Promise<void> {
  exitWith(await launch([...commandOf("tulle"), ...process.argv.slice(2), "--launched"], signal));
}

async function runDemo(options: DemoOptions, context: CommandContext): Promise<void> {
  const { environment, out, signal, random, dateMs, exitWith } = context;
  out.write(`\n${out.style("bold", "tulle demo")}: three hosts on this machine become one network\n\n`);
  const lab = new Lab({ name: `tulle-demo-${process.ppid}`, tulled: commandOf("tulled"), createNamespace });
  // The step that runs ends with its namespaces.
  signal.addEventListener("abort", () => lab.dispose(), { once: true });
  try {
    const storeEnvironment = { log: silentLogger, clock: systemClock, random, dateMs };
    await tellStory(lab, { out, signal, environment: storeEnvironment });
    if (options.keep) {
      out.write(
        keepHint(
          lab,
          // The program's own file, which a person may start without the runtime's name.
          {
            tulle: commandOf("tulle").at(-1) ?? "tulle",
            entering: enteringCommand(),
            searchPath: environment.PATH ?? "",
          },
          out,
        ),
      );
      if (!signal.aborted) await once(signal, "abort");
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    exitWith(EXIT_INTERRUPTED);
  } finally {
    lab.dispose();
    out.write(`\n${out.style("dim", "all of it is removed")}\n`);
  }
}
