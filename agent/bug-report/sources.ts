/**
 * What a bug report holds: the daemon's view, this host's network as the kernel has it, the firewall and the log.
 *
 * Reads only. A source that cannot be read is a line that says why.
 */

import { hostname, version as kernelVersion, release } from "node:os";
import { CommandRunner } from "../../backends/firewall/command.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
} from "../../backends/netlink/neighbour.ts";
import { decodeRoute, encodeRouteDump } from "../../backends/netlink/route.ts";
import { decodeRule, encodeRuleDump } from "../../backends/netlink/rule.ts";
import { FAMILIES } from "../../ipam/addresses/ip.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import type { AgentConfig } from "../config/config.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { askControl } from "../report/control.ts";
import { latestEvents } from "../report/latest-events.ts";
import { VERSION } from "../report/version.ts";
import type { ArchiveEntry } from "./archive.ts";
import type { ShownSettings } from "./reported-settings.ts";
import { lastLines } from "./secrets.ts";

/** Longest text of one source, in UTF-16 units; of a log the end is kept. */
const LONGEST = 8 * 1024 * 1024;
const LOG_LINES = "3000";

type Source = readonly [name: string, read: () => string | Promise<string>];

/** Everything that can be read now, in the order of the archive. Rejects with the signal's reason when it fires. */
export async function collectSources(
  files: AgentConfig["files"],
  settings: ShownSettings,
  signal: AbortSignal,
): Promise<readonly ArchiveEntry[]> {
  const netlink = NetlinkConnection.open();
  try {
    const entries: ArchiveEntry[] = [];
    const sources: readonly Source[] = [
      ["about.txt", about],
      ["config.json", () => toJson(settings)],
      ...daemonSources(files, signal),
      ...kernelSources(netlink),
      ...commandSources(signal),
    ];
    for (const [name, read] of sources) {
      entries.push({ name, text: await readOrExplain(read) });
      signal.throwIfAborted();
    }
    return entries;
  } finally {
    netlink.close();
  }
}

async function readOrExplain(read: Source[1]): Promise<string> {
  try {
    return lastLines(await read(), LONGEST);
  } catch (error) {
    return `not available: ${errorMessage(error)}\n`;
  }
}

function daemonSources(
  { runDir, stateDir, subnetFile }: AgentConfig["files"],
  signal: AbortSignal,
): readonly Source[] {
  const ask = (route: string) => async () => toJson(await askControl(runDir, route, signal));
  const events = async () => await latestEvents({ runDir, stateDir }, signal);
  return [
    ["networks.json", ask("/networks")],
    ["probe-targets.json", ask("/probe-targets")],
    ["events.jsonl", async () => (await events()).map((event) => `${JSON.stringify(event)}\n`).join("")],
    ["subnet.env", () => readForeignFile(subnetFile) ?? "absent\n"],
  ];
}

function about(): string {
  const os = /^PRETTY_NAME=(.*)$/m.exec(readForeignFile("/etc/os-release") ?? "")?.[1] ?? "unknown";
  const { bun, node, openssl } = process.versions;
  const runtime = bun === undefined ? `node ${node}, OpenSSL ${openssl}` : `the executable, bun ${bun}`;
  return [
    `tulle ${VERSION}`,
    `${runtime}, ${process.arch}`,
    `kernel ${release()} ${kernelVersion()}`,
    `system ${os}`,
    `host ${hostname()}`,
    `uid ${process.getuid?.()}`,
    "",
  ].join("\n");
}

function kernelSources(netlink: NetlinkConnection): readonly Source[] {
  const links = () => takeHostSnapshot(netlink).links;
  return [
    ["kernel/links-and-addresses.json", () => toJson(takeHostSnapshot(netlink))],
    [
      "kernel/routes.json",
      () => toJson(FAMILIES.flatMap((one) => netlink.dump(encodeRouteDump(one), decodeRoute))),
    ],
    [
      "kernel/rules.json",
      () => toJson(FAMILIES.flatMap((one) => netlink.dump(encodeRuleDump(one), decodeRule))),
    ],
    ["kernel/neighbours.json", () => toJson(netlink.dump(encodeNeighbourDump(), decodeNeighbour))],
    [
      "kernel/forwarding-entries.json",
      () => toJson(links().flatMap(({ index }) => netlink.dump(encodeFdbDump(index), decodeFdb))),
    ],
    ...["net/netstat", "net/snmp", "net/snmp6", "net/softnet_stat", "modules"].map(
      (name): Source => [`kernel/proc/${name}`, () => readForeignFile(`/proc/${name}`) ?? "absent\n"],
    ),
  ];
}

function commandSources(signal: AbortSignal): readonly Source[] {
  const runner = new CommandRunner();
  const output =
    (program: string, ...args: readonly string[]) =>
    async (): Promise<string> => {
      const { stdout, stderr } = await runner.run(program, args, { signal });
      return stdout + stderr;
    };
  return [
    ["firewall/nft.txt", output("nft", "list", "ruleset")],
    ["firewall/iptables.txt", output("iptables-save", "-c")],
    ["firewall/ip6tables.txt", output("ip6tables-save", "-c")],
    ["log.txt", output("journalctl", "-u", "tulled", "-n", LOG_LINES, "--no-pager", "-o", "short-iso")],
  ];
}

/** Addresses and prefixes format themselves. */
function toJson(value: unknown): string {
  const text = JSON.stringify(value, (_, one) => (typeof one === "bigint" ? one.toString() : one), 2);
  return `${text}\n`;
}
