/**
 * The page of a real network, as pictures: hosts in namespaces with tulled, one path of which is filtered.
 *
 *     page.mjs FOLDER     writes page-light.png and page-dark.png
 */

import { join } from "node:path";
import process from "node:process";
import { Daemon } from "../../agent/demo/daemon.ts";
import { openBrowser } from "../../test/support/browser.ts";
import { EtcdLab, type Host, PROGRAMS } from "../../test/support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const HOSTS = 12;
/** It drops what the other one sends. */
const FILTERING = 9;
const FILTERED = 4;
const VIEWPORT = { width: 1280, height: 960 };
const PATIENCE_MS = 120_000;

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("a folder is needed for the pictures");
const net = new EtcdLab("pictures", { hosts: HOSTS, config: CONFIG, isStoreApart: true });
try {
  await net.build();
  await startHosts();
  filter(net.host(FILTERING), net.host(FILTERED).address);
  await draw(folder);
} finally {
  await net.dispose();
}
// etcd's client keeps timers.
process.exit();

/** Each with a host name of its own, which it publishes. */
async function startHosts(): Promise<void> {
  const daemons = net.lab.hosts.map((host, index) => {
    const name = `node-${String(index + 1).padStart(2, "0")}`;
    const named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name];
    return new Daemon({
      command: host.enter(
        ...["setpriv", "--pdeathsig", "KILL", ...named, process.execPath, join(PROGRAMS, "tulled")],
        `--state-dir=${host.stateDirectory}`,
      ),
      runDirectory: host.runDirectory,
      logFile: host.daemon.logFile,
      patienceMs: PATIENCE_MS,
    });
  });
  const [first, ...rest] = daemons;
  await first?.start(...net.flags, "--ui=127.0.0.1:8080");
  for (const daemon of rest) await daemon.start(...net.flags);
  await first?.until(({ peers }) => peers.length === HOSTS - 1, "has all peers");
}

function filter(host: Host, source: string): void {
  const rules = [
    "add table inet fault",
    "add chain inet fault input { type filter hook input priority -500; }",
    `add rule inet fault input ip saddr ${source} udp dport 8472 drop`,
  ];
  for (const rule of rules) host.run("nft", rule);
}

async function draw(target: string): Promise<void> {
  const opened = await openBrowser(net.host(1).netns);
  try {
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await opened.browser.newPage({ viewport: VIEWPORT, colorScheme });
      await page.goto("http://127.0.0.1:8080/");
      const wait = { timeout: PATIENCE_MS };
      await page.locator("#summary").filter({ hasText: "2 hosts have broken paths" }).waitFor(wait);
      await page.locator("#problem-list li").first().waitFor(wait);
      const measured = page.locator(".dots circle[class^=band]");
      while ((await measured.count()) < HOSTS - 2) await page.waitForTimeout(100);
      await page.screenshot({ path: join(target, `page-${colorScheme}.png`) });
      console.log(`docs/pictures/page-${colorScheme}.png`);
      await page.close();
    }
  } finally {
    await opened.close();
  }
}
