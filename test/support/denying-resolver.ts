/** The resolver of a host in a network namespace, which answers NXDOMAIN to every query. */

import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import process from "node:process";
import { parseResolvConf } from "../../agent/names/resolv-conf.ts";
import { type Daemon, startDaemon, untilReady } from "./daemon.ts";
import type { TestNetns } from "./netns.ts";

/** The query comes back with QR and RA set, and RCODE 3 (RFC 1035, 4.1.1). */
const PROGRAM = `
  const server = require("node:dgram").createSocket("udp4");
  server.on("message", (message, { port, address }) => {
    message[2] |= 0x80;
    message[3] = 0x83;
    server.send(message, port, address);
  });
  server.bind(53, process.argv[1], () => console.log("ready"));`;

/** Starts it at the first IPv4 address of this machine's /etc/resolv.conf; null where that has none. */
export async function startDenyingResolver(netns: TestNetns): Promise<Daemon | null> {
  const upstream = parseResolvConf(readFileSync("/etc/resolv.conf", "utf8")).find(({ host }) => isIPv4(host));
  if (upstream === undefined) return null;
  netns.ip(`address add ${upstream.host}/32 dev lo`);
  const resolver = startDaemon(process.execPath, ["-e", PROGRAM, upstream.host], { netns });
  await untilReady(
    async () => resolver.output.includes("ready"),
    () => resolver.output,
  );
  return resolver;
}
