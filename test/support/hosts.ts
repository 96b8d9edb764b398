/**
 * A lab of hosts for end-to-end tests, running the programs of dist/ with a store of their own.
 *
 *     const lab = createLab("restart"); // and lab.dispose() in afterAll
 *     const store = await fileStoreOf(lab, { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } });
 *     await lab.addHost().daemon.start(`--store=${store}`);
 *
 * TULLE_DIST names another build than the checkout's dist/.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createFileStore } from "../../agent/demo/file-store.ts";
import { type Host, Lab } from "../../agent/demo/lab.ts";
import { systemClock } from "../../ipam/clock.ts";
import { silentLogger } from "../../ipam/log.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { type EtcdCluster, startEtcd } from "./etcd.ts";

export { type Container, type Host, Lab } from "../../agent/demo/lab.ts";
export { type PingReport, ping, startPing } from "../../agent/demo/ping.ts";

const DIST = process.env.TULLE_DIST ?? join(import.meta.dirname, "../../dist");

let counter = 0;

/** An empty lab (needs root). `label` is part of every name in it. */
export function createLab(label: string, mtuBytes = 1500): Lab {
  const programs = join(DIST, "bin");
  if (!existsSync(join(programs, "tulled"))) throw new Error(`${programs} has no tulled: run npm run build`);
  counter += 1;
  return disposeAtExit(new Lab({ name: `tulle-${label}-${process.pid}-${counter}`, programs, mtuBytes }));
}

/** Starts etcd on a host, at port 2379 of its address. */
export function etcdOn({ netns, address }: Host): Promise<EtcdCluster> {
  return startEtcd({ netns: { netns, host: address } });
}

/** A file store in the lab's directory that holds a network: answers the value for --store. */
export function fileStoreOf(lab: Lab, config: object, prefix = "/coreos.com/network"): Promise<string> {
  const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
  return createFileStore(join(lab.directory, "store"), prefix, config, environment);
}
