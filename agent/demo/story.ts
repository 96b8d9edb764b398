/**
 * The steps of the demo: three hosts become one network, every container reaches every other, and damage heals.
 *
 * The caller makes the lab and removes it.
 */

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StoreEnvironment } from "../../ipam/stores/options.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { createFileStore } from "./file-store.ts";
import { type Container, type Host, LAN_PREFIX, type Lab } from "./lab.ts";
import { deleteLink } from "./network.ts";
import { type PingReport, ping, startPing } from "./ping.ts";
import { pingMatrix, showStep, subnetTable } from "./view.ts";

const HOSTS = 3;
const CONTAINERS_PER_HOST = 2;
const NETWORK = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
/** flannel's default. */
const STORE_PREFIX = "/coreos.com/network";
const PINGS = 3;
const PING_INTERVAL_MS = 10;
const HEAL_PING_INTERVAL_MS = 5;
const SETTLE_MS = 400;

export interface StoryOptions {
  readonly out: Terminal;
  readonly environment: StoreEnvironment;
  /** Ends it between two steps. */
  readonly signal: AbortSignal;
}

/** Runs all steps. Throws when one fails, with the log of the daemon that failed. */
export async function tellStory(lab: Lab, { out, environment, signal }: StoryOptions): Promise<void> {
  const step = async <T>(title: string, action: () => T | Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    return await showStep(out, title, action);
  };
  await step(`${HOSTS} hosts on a LAN, ${LAN_PREFIX}.0/24`, () => {
    for (let count = 0; count < HOSTS; count++) lab.addHost();
  });
  const store = await step(`network ${NETWORK.Network} in an embedded store, no server`, () =>
    createFileStore(join(lab.directory, "store"), STORE_PREFIX, NETWORK, environment),
  );
  await step("tulled on each host, until packets can flow", () =>
    Promise.all(lab.hosts.map((host) => host.daemon.start(`--store=${store}`))),
  );
  await step(`${CONTAINERS_PER_HOST} containers on each host`, () => {
    for (const host of lab.hosts)
      for (let count = 0; count < CONTAINERS_PER_HOST; count++) host.addContainer();
  });
  out.write(`\n${subnetTable(lab.hosts, out)}\n`);

  const containers = lab.hosts.flatMap((host) => host.containers);
  const reports = await step("every container pings every other", () => pingAll(containers, signal));
  out.write(`\n${pingMatrix(containers, (from, to) => reports.get(from)?.get(to) ?? null, out)}\n`);

  const [first, second] = lab.hosts;
  if (first === undefined || second === undefined) throw new Error("the lab has fewer than two hosts");
  const report = await step(`deleting flannel.1 on ${first.name} under a ping, until it is back`, () =>
    deleteDeviceUnderPing(first, second),
  );
  out.write(`    ${lossText(report)}\n`);
}

async function pingAll(
  containers: readonly Container[],
  signal: AbortSignal,
): Promise<ReadonlyMap<Container, ReadonlyMap<Container, PingReport>>> {
  const reports = new Map<Container, Map<Container, PingReport>>();
  for (const from of containers) {
    const row = new Map<Container, PingReport>();
    reports.set(from, row);
    for (const to of containers) {
      signal.throwIfAborted();
      if (to !== from) row.set(to, await ping(from.netns, to.address, PINGS, PING_INTERVAL_MS));
    }
  }
  return reports;
}

async function deleteDeviceUnderPing(host: Host, peer: Host): Promise<PingReport> {
  const [from, to] = [host.containers[0], peer.containers[0]];
  if (from === undefined || to === undefined) throw new Error("the hosts have no containers");
  const running = startPing(from.netns, to.address, HEAL_PING_INTERVAL_MS);
  let report: PingReport;
  try {
    await sleep(SETTLE_MS);
    await deleteLink(host.netns.path, "flannel.1");
    await host.daemon.until(
      ({ kernel }) => kernel.isConverged && (kernel.repaired.link ?? 0) > 0,
      "has healed",
    );
    await sleep(SETTLE_MS);
  } finally {
    // A ping that goes on would keep the demo from ending.
    report = await running.stop();
  }
  return report;
}

function lossText({ sent, lost }: PingReport): string {
  const aboutMs = lost.length * HEAL_PING_INTERVAL_MS;
  return `it came back automatically: ${lost.length} of ${sent} packets lost, an outage of about ${aboutMs} ms`;
}
