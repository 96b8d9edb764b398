/**
 * `tulle demo`: a network of three hosts on this machine, in namespaces that it makes and removes.
 *
 * Nothing of it touches the machine's own network. Without root it runs in a user namespace.
 */

import { once } from "node:events";
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { Lab } from "../demo/lab.ts";
import { removeOrphans } from "../demo/orphans.ts";
import { enteringCommand, isPrivileged, requireTools, runAgainPrivileged } from "../demo/privilege.ts";
import { tellStory } from "../demo/story.ts";
import { keepHint } from "../demo/view.ts";
import type { CommandContext, CommandModule } from "./command.ts";

/** As a shell answers for a program that Ctrl-C ended (128 + SIGINT). */
const EXIT_INTERRUPTED = 130;

/** First part of the name of everything that a demo makes. */
const KIND = "tulle-demo";

interface DemoOptions {
  readonly keep?: true;
}

export const demo: CommandModule = {
  define(command, context) {
    command
      .option("--keep", "leave it up until Ctrl-C, and say how to look around")
      .action(async (options: DemoOptions) => {
        // npm and an impatient person repeat the signal: the first is enough, the rest must not stop the removal.
        for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
        requireTools(context.environment.PATH ?? "");
        if (isPrivileged()) await runDemo(options, context);
        else context.exitWith(await runAgainPrivileged(context.signal));
      });
  },
};

async function runDemo(options: DemoOptions, { out, signal, random, dateMs, exitWith }: CommandContext) {
  out.write(`\n${out.style("bold", "tulle demo")}: three hosts on this machine become one network\n\n`);
  const programs = dirname(realpathSync(process.argv[1] ?? ""));
  removeOrphans(KIND);
  const lab = new Lab({ name: `${KIND}-${process.pid}`, programs });
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
    // Ctrl-C also ends the tool that runs at that moment: hear of the interrupt first, then judge.
    await setImmediate();
    if (!signal.aborted) throw error;
    exitWith(EXIT_INTERRUPTED);
  } finally {
    lab.dispose();
    out.write(`\n${out.style("dim", "all of it is removed again")}\n`);
  }
}
