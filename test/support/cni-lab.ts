/**
 * Hosts as a container runtime finds them: tulled runs, `tulle cni install` was run, and the plugins that it chains
 * are there. Each host keeps its files in a folder of its own.
 *
 *     const lab = useCniLab("podman");
 *     it("…", () => {
 *       const [one, two] = lab.hosts;
 */

import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { CniHost } from "./cni-host.ts";
import { type EtcdLab, type Host, PROGRAMS, useEtcdLab } from "./hosts.ts";
import { referencePlugins, type Suite } from "./reference-plugins.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const CONFLIST = "10-flannel.conflist";

export interface InstalledHost {
  readonly host: Host;
  readonly cni: CniHost;
  /** Folder of network configurations. */
  readonly confDir: string;
}

export interface CniLab {
  readonly net: EtcdLab;
  readonly hosts: readonly InstalledHost[];
}

/** For the body of a describe: two hosts before its tests, with the plugins of `suite`; nothing after them. */
export function useCniLab(label: string, suite: Suite = "bookworm"): CniLab {
  const net = useEtcdLab(label, { hosts: 2, config: CONFIG });
  const hosts: InstalledHost[] = [];
  beforeAll(async () => {
    await net.startAll();
    for (const host of [net.host(1), net.host(2)]) hosts.push(install(host, label, suite));
  });
  afterAll(() => {
    for (const { cni } of hosts) cni.dispose();
  });
  return { net, hosts };
}

function install(host: Host, label: string, suite: Suite): InstalledHost {
  const cni = new CniHost(label, host);
  const confDir = join(cni.dir, "net.d");
  const places = ["--bin-dir", cni.pluginDir, "--conf-dir", confDir];
  for (const name of ["portmap", "loopback"]) {
    symlinkSync(join(referencePlugins(suite) ?? "", name), join(cni.pluginDir, name));
  }
  execFileSync(join(PROGRAMS, "tulle"), ["cni", "install", ...places], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  keepToOwnFolders(join(confDir, CONFLIST), cni);
  return { host, cni, confDir };
}

/** Several hosts on one machine must not share the default folders. */
function keepToOwnFolders(conflist: string, { config }: CniHost): void {
  const installed = JSON.parse(readFileSync(conflist, "utf8"));
  const { subnetFile, dataDir, ipam } = config;
  Object.assign(installed.plugins[0], { subnetFile, dataDir, ipam });
  writeFileSync(conflist, JSON.stringify(installed));
}

/**
 * All that attachments and published ports leave on a host: devices, addresses, records, routes, rules. `runTool` runs
 * the tools of the system that made the rules: nft 1.0 crashes on some of those that nft 1.1 makes.
 */
export function traces(
  { cni }: InstalledHost,
  runTool = (command: string, ...args: readonly string[]) => cni.netns.exec(command, args),
): unknown {
  const run = (command: string, ...args: readonly string[]) => runTool(command, ...args).split("\n");
  return {
    links: [...cni.links().keys()].sort(),
    reservations: cni.reservations(),
    records: cni.stateFiles(),
    routes: run("ip", "route"),
    rules: [...run("iptables-save"), ...run("nft", "--stateless", "list", "ruleset")]
      .filter((line) => !line.startsWith("#"))
      .map((line) => line.replace(/\[\d+:\d+\]/, "")),
  };
}
