/**
 * The page of a real network, as pictures: hosts in namespaces with tulled, one path of which is filtered.
 *
 *     page.mjs FOLDER     writes page-light.png and page-dark.png
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { Daemon } from "../../agent/demo/daemon.ts";
import { openBrowser } from "../../test/support/browser.ts";
import { EtcdLab, type Host, PROGRAMS } from "../../test/support/hosts.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const HOSTS = 12;
/** It drops what the other one sends. */
const FILTERING = 8;
const FILTERED = 4;
const VIEWPORT = { width: 1040, height: 760 };
/** Sharp on screens with small pixels, and below the size that the documents' test allows. */
const SCALE = 1.4;
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

/** Each with a host name of its own, which it publishes, and with subnets in the order of the hosts. */
async function startHosts(): Promise<void> {
  const daemons = net.lab.hosts.map((host, index) => {
    rememberSubnet(host, `10.2.${index + 1}.1/24`);
    const name = `node-${String(index + 1).padStart(2, "0")}`;
    const named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name];
    return new Daemon({
      command: host.enter(
        ...["setpriv", "--pdeathsig", "KILL", ...named, join(PROGRAMS, "tulled")],
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

/** As if the host had had it before: then it leases it again. */
function rememberSubnet(host: Host, subnet: string): void {
  const file = join(host.runDirectory, "flannel/subnet.env");
  mkdirSync(dirname(file), { recursive: true });
  const values = { NETWORK: CONFIG.Network, SUBNET: subnet, MTU: "1450", IPMASQ: "false" };
  writeFileSync(
    file,
    Object.entries(values)
      .map(([name, value]) => `FLANNEL_${name}=${value}\n`)
      .join(""),
  );
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
      const page = await opened.browser.newPage({
        viewport: VIEWPORT,
        deviceScaleFactor: SCALE,
        colorScheme,
      });
      await page.goto("http://127.0.0.1:8080/");
      const shown = { timeout: PATIENCE_MS };
      // Both ends have reported the path, and all other hosts but this one are measured.
      await page.locator(".chords path.both-ways").waitFor(shown);
      await page
        .locator(".dots circle[class^=band]")
        .nth(HOSTS - 4)
        .waitFor(shown);
      // Round trips settle once the hosts have started.
      await page
        .locator("#problem-list li")
        .filter({ hasText: /for \d\d s/ })
        .waitFor(shown);
      await page.screenshot({ path: join(target, `page-${colorScheme}.png`), fullPage: true });
      console.log(`docs/pictures/page-${colorScheme}.png`);
      await page.close();
    }
  } finally {
    await opened.close();
  }
}
