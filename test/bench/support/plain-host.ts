/** A host of the udp backend that runs a plain proxy, one packet for each system call, instead of tulle's data path. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROGRAMS } from "../../support/hosts.ts";
import type { TestNetns } from "../../support/netns.ts";
import { addContainer, makeDevice, plugIn, UDP_PORT, type UdpHost } from "../../support/udp-hosts.ts";

const SOURCE = join(PROGRAMS, "../../test/bench/support/plain-proxy.c");

/** The compiled proxy. */
export interface PlainProxy {
  readonly path: string;
  dispose(): void;
}

/** Null without a C compiler. Throws where the source cannot be compiled. */
export function compilePlainProxy(): PlainProxy | null {
  const folder = mkdtempSync(join(tmpdir(), "tulle-proxy-"));
  const path = join(folder, "plain-proxy");
  const dispose = () => rmSync(folder, { recursive: true });
  const { error, status, stderr } = spawnSync("cc", ["-O2", "-o", path, SOURCE], { encoding: "utf8" });
  if (error === undefined && status === 0) return { path, dispose };
  dispose();
  if (error !== undefined && "code" in error && error.code === "ENOENT") return null;
  throw error ?? new Error(`cc failed: ${stderr}`);
}

/** Host `number`, whose only peer is host `peer`; addresses as those of startUdpHost. */
export async function startPlainHost(
  lan: TestNetns,
  number: number,
  peer: number,
  proxy: PlainProxy,
): Promise<Pick<UdpHost, "container" | "dispose">> {
  const netns = plugIn(lan, number);
  netns.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
  makeDevice(netns, number);
  const container = addContainer(netns, number);
  const [own, other] = [number, peer].map((host) => `192.168.77.${host}`) as [string, string];
  const command = [proxy.path, "flannel0", own, other, String(UDP_PORT)];
  const child = spawn("nsenter", [`--net=${netns.path}`, ...command], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const dispose = async () => {
    if (child.kill()) await once(child, "exit");
    container.dispose();
    netns.dispose();
  };
  const [line] = await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  if (String(line).trim() === "ready") return { container, dispose };
  await dispose();
  throw new Error("the plain proxy ended before it carried packets");
}
