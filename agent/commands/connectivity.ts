/**
 * `tulle connectivity`: measures the paths from this host to its peers, now, with packets of its own. It asks the running
 * daemon only who the peers are; for paths between containers also the other hosts, through the store.
 */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { FAMILIES } from "../../ipam/addresses/ip.ts";
import { systemClock } from "../../ipam/clock.ts";
import { ConfigError } from "../../ipam/errors.ts";
import { surveyContainers } from "../container-probes/container-survey.ts";
import { ProbeContainer } from "../container-probes/probe-container.ts";
import { MOST_PEERS } from "../container-probes/records.ts";
import { withContainers } from "../container-probes/request.ts";
import { chooseTargets, namedContainers } from "../container-probes/target-choice.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { bridgeAddresses } from "../host/local-prefixes.ts";
import type { ProbeTarget } from "../probes/probe.ts";
import { verdictOf } from "../probes/survey.ts";
import { Surveyor } from "../probes/surveyor.ts";
import { readTargets, type TargetList } from "../probes/target-list.ts";
import { askControl } from "../report/control.ts";
import type { CommandContext, CommandModule } from "../terminal/command.ts";
import { connectivityToJson, formatConnectivity, type Measures } from "../terminal/connectivity-view.ts";
import { STORE_FLAGS, withNetwork } from "../terminal/open-network.ts";

const EXIT_BROKEN = 1;
const EXIT_UNKNOWN = 3;
const DEFAULT_COUNT = 10;

interface ConnectivityOptions {
  readonly json?: true;
  readonly containers?: true;
  readonly count: number;
}

const HELP = `
With --containers, packets go from a container that exists for this measurement to one on each peer, which the
peer's agent makes; where none answers (flannel's hosts have none), to the peer itself. An address of a
container among the peers is measured instead.
Exit code: 0 all paths work, 1 some do not, or the daemon does not answer, 3 none is known to be broken, but some
answer nothing. A path that loses two packets or more, and 2 % of them, does not work.`;

export const connectivity: CommandModule = {
  daemonFlags: [...STORE_FLAGS, "run-dir"],
  define(command, context) {
    command
      .argument(
        "[peer...]",
        "leases, host names, public addresses or addresses of containers; default: all peers",
      )
      .option("--containers", "measure from container to container")
      .option("--count <packets>", "small packets to each peer, 1 to 1000", parseCount, DEFAULT_COUNT)
      .option("--json", "print a list of objects, for programs")
      .addHelpText("after", HELP)
      .action(async (peers: readonly string[], options: ConnectivityOptions) => {
        const { files } = await context.config();
        const list = readTargets(await askControl(files.runDir, "/probe-targets", context.signal));
        const measured = await measure(list, peers, options, context);
        const verdicts = new Set(measured.measures.map(verdictOf));
        if (verdicts.has("broken")) context.exitWith(EXIT_BROKEN);
        else if (verdicts.has("unknown")) context.exitWith(EXIT_UNKNOWN);
        if (options.json) context.out.json(connectivityToJson(measured, list.hostNames));
        else if (measured.measures.length === 0) context.out.line("this host has no peers");
        else context.out.write(formatConnectivity(measured, list.hostNames, context.out));
      });
  },
};

/** Throws ConfigError. */
function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 1 && count <= 1_000) return count;
  throw new ConfigError(`--count is "${text}"; write a whole number from 1 to 1000`);
}

async function measure(
  list: TargetList,
  words: readonly string[],
  { count, containers }: ConnectivityOptions,
  context: CommandContext,
): Promise<Measures> {
  const targets = chooseTargets(list, words);
  const surveyor = new Surveyor({
    ...{ clock: systemClock, network: list, count },
    onProgress: (done, all) => showProgress(context, done, all),
  });
  try {
    if (containers && targets.length > 0)
      return await fromContainer(surveyor, list, { targets, words }, context);
    return { from: null, measures: await surveyor.fromHost(targets, context.signal) };
  } finally {
    surveyor.close();
  }
}

function showProgress({ err }: CommandContext, done: number, all: number): void {
  if (!err.isInteractive) return;
  err.restartLine();
  err.write(done === all ? "" : `${done} of ${all}`);
}

async function fromContainer(
  surveyor: Surveyor,
  { subnets, hostNames }: TargetList,
  { targets, words }: { readonly targets: readonly ProbeTarget[]; readonly words: readonly string[] },
  context: CommandContext,
): Promise<Measures> {
  const named = namedContainers(targets, words);
  // A host without a name runs another agent, which makes no container.
  const peers = [...new Set(targets.map(({ peer }) => peer))].filter(
    (peer) => !named.has(peer) && Object.hasOwn(hostNames, peer),
  );
  if (peers.length > MOST_PEERS) {
    throw new ConfigError(
      `--containers asks at most ${MOST_PEERS} hosts for a container, not ${peers.length}; name peers`,
    );
  }
  const place = { subnets, bridges: readBridges(), mtuBytes: targets[0]?.mtuBytes ?? 0 };
  return await withNetwork(
    context,
    async ({ store: { records }, signal }) => {
      const from = await ProbeContainer.open(place, systemClock, signal);
      sayWhatIsLeftOut(from, targets, context);
      try {
        const measures = await withContainers({ records, clock: systemClock, peers, signal }, (containers) =>
          surveyContainers(
            {
              ...{ own: from.addresses, containers, named },
              survey: (side, some) =>
                side === "host"
                  ? surveyor.fromHost(some, signal)
                  : surveyor.fromContainer(from.netns, some, signal),
            },
            targets,
          ),
        );
        return { from, measures };
      } finally {
        await from.close();
      }
    },
    CONTAINERS_WITHIN_MS,
  );
}

function sayWhatIsLeftOut(
  { addresses, bridge }: ProbeContainer,
  targets: readonly ProbeTarget[],
  { err }: CommandContext,
): void {
  for (const family of FAMILIES) {
    if (addresses[family] !== undefined || targets.every((target) => target.family !== family)) continue;
    err.line(
      `tulle connectivity: IPv${family} is left out: ${bridge} has no address in this host's IPv${family} subnet`,
    );
  }
}

/** For 200 peers in rounds of 64 with 1,000 packets each, and twice that where they are silent. */
const CONTAINERS_WITHIN_MS = 600_000;

function readBridges() {
  const netlink = NetlinkConnection.open();
  try {
    return bridgeAddresses(takeHostSnapshot(netlink));
  } finally {
    netlink.close();
  }
}
