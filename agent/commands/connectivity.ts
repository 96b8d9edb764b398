/**
 * `tulle connectivity`: measures the paths from this host to its peers, now, with packets of its own. It asks the running
 * daemon only who the peers are.
 */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { ConfigError } from "../../ipam/errors.ts";
import { formatJson } from "../../ipam/escape.ts";
import { DEAF } from "../probes/echo-line.ts";
import { openEchoLines } from "../probes/echo-lines.ts";
import { FactsReader } from "../probes/local-facts.ts";
import type { ProbeTarget } from "../probes/probe.ts";
import { Survey } from "../probes/survey.ts";
import { probeSyn } from "../probes/syn-probe.ts";
import { readTargets, type TargetList } from "../probes/target-list.ts";
import { probeTcp } from "../probes/tcp-probe.ts";
import { askControl } from "../report/control.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { connectivityToJson, formatConnectivity } from "../terminal/connectivity-view.ts";

const EXIT_BROKEN = 1;
const ANSWER_WITHIN_MS = 5_000;
const DEFAULT_COUNT = 10;

interface ConnectivityOptions {
  readonly json?: true;
  readonly count: number;
}

export const connectivity: CommandModule = {
  daemonFlags: ["config", "run-dir"],
  define(command, context) {
    command
      .argument(
        "[peer...]",
        "leases, host names, public addresses or addresses of containers; default: all peers",
      )
      .option("--count <packets>", "small packets to each peer, 1 to 1000", parseCount, DEFAULT_COUNT)
      .option("--json", "print a list of objects, for programs")
      .addHelpText("after", "\nExit code: 0 all paths work, 1 some do not, or the daemon does not answer.")
      .action(async (peers: readonly string[], options: ConnectivityOptions) => {
        const { files } = await context.config();
        const signal = AbortSignal.any([context.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
        const list = readTargets(await askControl(files.runDir, "/probe-targets", signal));
        const measures = await survey(list, chooseTargets(list, peers), options.count, context);
        if (measures.some(({ cause }) => cause !== null)) context.exitWith(EXIT_BROKEN);
        if (options.json)
          context.out.write(`${formatJson(connectivityToJson(measures, list.hostNames), 2)}\n`);
        else if (measures.length === 0) context.out.line("this host has no peers");
        else context.out.write(formatConnectivity(measures, list.hostNames, context.out));
      });
  },
};

/** Throws ConfigError. */
function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= 1_000) return count;
  throw new ConfigError(`--count is "${text}"; write a whole number from 1 to 1000`);
}

async function survey(
  { devices, interfaces, sources }: TargetList,
  targets: readonly ProbeTarget[],
  count: number,
  { signal, err }: CommandContext,
) {
  const now = (): number => systemClock.monotonicMs();
  const netlink = NetlinkConnection.open();
  const facts = new FactsReader({
    netlink,
    now,
    devices: () => devices,
    interfaces: () => interfaces,
    sources: () => sources,
  });
  const echo = openEchoLines(now, { ...DEAF, notice: (notice) => facts.notice(notice) });
  const expiry = setInterval(() => echo.expire(), EXPIRE_MS);
  try {
    return await new Survey({
      clock: systemClock,
      lines: echo.lines,
      probeTcp: (target, settle) => probeTcp(target, now, settle),
      probeSyn: (target, settle) => probeSyn(target, now, settle),
      inspect: (target) => facts.inspect(target),
      count,
      onProgress: (done) => {
        if (!err.isInteractive) return;
        err.restartLine();
        err.write(done === targets.length ? "" : `${done} of ${targets.length}`);
      },
    }).run(targets, signal);
  } finally {
    clearInterval(expiry);
    echo.close();
    facts.close();
    netlink.close();
  }
}

const EXPIRE_MS = 20;

/** The targets that the words name. Throws ConfigError for a word that names none. */
function chooseTargets({ targets, hostNames }: TargetList, words: readonly string[]): readonly ProbeTarget[] {
  if (words.length === 0) return targets;
  const chosen = new Set<ProbeTarget>();
  for (const word of words) {
    const found = targets.filter(
      (target) =>
        isNamed(target, word) || (Object.hasOwn(hostNames, target.peer) && hostNames[target.peer] === word),
    );
    if (found.length === 0) {
      throw new ConfigError(
        `${word} is no peer of this host: give a lease, a host name, a public address or an address of a container, as "tulle leases" shows them`,
      );
    }
    for (const target of found) chosen.add(target);
  }
  return targets.filter((target) => chosen.has(target));
}

function isNamed({ peer, subnet, outer }: ProbeTarget, word: string): boolean {
  if (peer === word || subnet.toString() === word) return true;
  const address = Address.parseOrNull(word);
  return address !== null && (outer.equals(address) || subnet.contains(address));
}
