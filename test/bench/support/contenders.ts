/** Who is measured: our daemon, and with --compare another agent with flanneld's flags, in alternation with it. */

import { join } from "node:path";
import { Daemon } from "../../../agent/demo/daemon.ts";
import type { Host } from "../../support/hosts.ts";

export interface Contender {
  readonly name: string;
  /** Null for our own daemon. */
  readonly command: readonly string[] | null;
}

/** Ours first. */
export function contendersOf(compare: readonly string[] | null): readonly Contender[] {
  const ours = { name: "tulled", command: null };
  return compare === null ? [ours] : [ours, { name: "compared", command: compare }];
}

/** A contender's process on a host of a lab, which sees the host's own /run. */
export function daemonOn(host: Host, { name, command }: Contender): Daemon {
  if (command === null) return host.daemon;
  return new Daemon({
    command: host.enter("setpriv", "--pdeathsig", "KILL", ...command),
    runDirectory: host.runDirectory,
    logFile: join(host.runDirectory, `${name}.log`),
  });
}
