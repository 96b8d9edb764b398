/**
 * Two containers on two hosts, over our tunnel or over one made by hand as flannel makes it, and iperf3 between them.
 */

import { execFile, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Namespace } from "../../../agent/demo/namespace.ts";
import { untilReady } from "../../support/daemon.ts";
import { type Container, createLab, fileStoreOf, type Host, type Lab } from "../../support/hosts.ts";

/** Two containers on two hosts. */
export interface Overlay {
  readonly lab: Lab;
  readonly from: Container;
  readonly to: Container;
}

/** Two namespaces, the second with an iperf3 server. */
export interface Pair {
  readonly from: { readonly netns: Namespace };
  readonly to: { readonly netns: Namespace; readonly address: string };
}

/** A datagram that is nearly all headers. */
export const SMALL_BYTES = 64;

export async function measureTcpMbits(
  overlay: Pair,
  seconds: number,
  options: readonly string[] = [],
): Promise<number> {
  return await iperf(overlay, seconds, options, (end) => end.sum_received.bits_per_second / 1e6);
}

/** Packets of SMALL_BYTES that arrive in a second when they are sent as fast as they can be. */
export async function measurePackets(overlay: Pair, seconds: number): Promise<number> {
  const flood = ["-u", "-b", "0", "-l", String(SMALL_BYTES)];
  return await iperf(overlay, seconds, flood, ({ sum }) => (sum.packets - sum.lost_packets) / sum.seconds);
}

/** VXLAN with the rules of --ip-masq, and with more `flags`. */
export async function overlayByTulled(labs: Lab[], ...flags: readonly string[]): Promise<Overlay> {
  return await overlayOfType(labs, "vxlan", ...flags);
}

/** The same with any backend. */
export async function overlayOfType(
  labs: Lab[],
  type: string,
  ...flags: readonly string[]
): Promise<Overlay> {
  const lab = createLab("thru");
  labs.push(lab);
  const store = await fileStoreOf(lab, { Network: "10.2.0.0/16", Backend: { Type: type } });
  const hosts = [lab.addHost(), lab.addHost()] as const;
  for (const host of hosts) await host.daemon.start(`--store=${store}`, "--ip-masq", ...flags);
  return overlayBetween(lab, hosts);
}

/** The devices, routes and rules that flannel would make; `vxlanOptions` as ip-link(8) has them. */
export function overlayByHand(labs: Lab[], vxlanOptions = ""): Overlay {
  const lab = createLab("thruhand");
  labs.push(lab);
  const hosts = [lab.addHost(), lab.addHost()] as const;
  const mac = (number: number): string => `02:00:00:00:00:0${number}`;
  for (const [index, host] of hosts.entries()) {
    const other = hosts[1 - index] as Host;
    const peer = 2 - index;
    host.netns.ip(
      `link add flannel.1 address ${mac(index + 1)} mtu 1450 type vxlan id 1 local ${host.address} dev eth0 dstport 8472 nolearning ${vxlanOptions}`,
      `address add 10.2.${index + 1}.0/32 dev flannel.1`,
      "link set flannel.1 up",
      `neighbour add 10.2.${peer}.0 lladdr ${mac(peer)} nud permanent dev flannel.1`,
      `route add 10.2.${peer}.0/24 via 10.2.${peer}.0 dev flannel.1 onlink`,
    );
    const fdb = ["fdb", "add", mac(peer), "dev", "flannel.1", "dst", other.address, "self", "permanent"];
    host.netns.exec("bridge", fdb);
    addFlannelRules(host, `10.2.${index + 1}.0/24`);
    writeSubnetFile(host, index + 1, 1450);
  }
  return overlayBetween(lab, hosts);
}

/** WireGuard devices, keys, peers and routes as flannel would make them, with the same rules. */
export function wireguardByHand(labs: Lab[]): Overlay {
  const lab = createLab("wghand");
  labs.push(lab);
  const hosts = [lab.addHost(), lab.addHost()] as const;
  const keys = hosts.map(({ netns }) => {
    const privateKey = netns.exec("wg", ["genkey"]).trim();
    return { privateKey, publicKey: netns.exec("sh", ["-c", `echo ${privateKey} | wg pubkey`]).trim() };
  });
  for (const [index, host] of hosts.entries()) {
    const [own, peer] = [keys[index], keys[1 - index]];
    const other = hosts[1 - index] as Host;
    const subnet = `10.2.${index + 1}.0/24`;
    host.netns.ip(
      "link add flannel-wg mtu 1420 type wireguard",
      `address add 10.2.${index + 1}.0/32 dev flannel-wg`,
    );
    const endpoint = `peer ${peer?.publicKey} endpoint ${other.address}:51820 allowed-ips 10.2.${2 - index}.0/24`;
    const set = `wg set flannel-wg listen-port 51820 private-key /dev/stdin ${endpoint}`;
    host.netns.exec("sh", ["-c", `echo ${own?.privateKey} | ${set}`]);
    host.netns.ip("link set flannel-wg up", "route add 10.2.0.0/16 dev flannel-wg scope link");
    addFlannelRules(host, subnet);
    writeSubnetFile(host, index + 1, 1420);
  }
  return overlayBetween(lab, hosts);
}

function writeSubnetFile({ runDirectory }: Host, number: number, mtuBytes: number): void {
  mkdirSync(join(runDirectory, "flannel"));
  writeFileSync(
    join(runDirectory, "flannel/subnet.env"),
    `FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.${number}.1/24\nFLANNEL_MTU=${mtuBytes}\nFLANNEL_IPMASQ=true\n`,
  );
}

/** As flannel writes them, with a comment on each: it is a test of its own for every packet. */
function addFlannelRules({ netns }: Host, subnet: string): void {
  const network = "10.2.0.0/16";
  const masq = (matches: string, target: string): string =>
    `-A FLANNEL-POSTRTG ${matches} -m comment --comment "flanneld masq" -j ${target}`;
  const forward = '-m comment --comment "flanneld forward" -j';
  const lines = [
    "*nat",
    ":FLANNEL-POSTRTG - [0:0]",
    '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
    masq("-m mark --mark 0x4000/0x4000", "RETURN"),
    masq(`-s ${subnet} -d ${network}`, "RETURN"),
    masq(`-s ${network} -d ${subnet}`, "RETURN"),
    masq(`! -s ${network} -d ${subnet}`, "RETURN"),
    masq(`-s ${network} ! -d 224.0.0.0/4`, "MASQUERADE --random-fully"),
    masq(`! -s ${network} -d ${network}`, "MASQUERADE --random-fully"),
    "COMMIT",
    "*filter",
    ":FLANNEL-FWD - [0:0]",
    `-A FORWARD ${forward} FLANNEL-FWD`,
    `-A FLANNEL-FWD -s ${network} ${forward} ACCEPT`,
    `-A FLANNEL-FWD -d ${network} ${forward} ACCEPT`,
    "COMMIT",
  ];
  netns.exec("sh", ["-c", 'printf "%s\\n" "$0" | iptables-restore --noflush', lines.join("\n")]);
}

/** What of iperf3's answer is used. */
interface IperfEnd {
  readonly sum_received: { readonly bits_per_second: number };
  readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
}

/** Asks the server that runs beside the second container; again where an answer lacks its figures. */
async function iperf(
  { from, to }: Pair,
  seconds: number,
  options: readonly string[],
  read: (end: IperfEnd) => number,
): Promise<number> {
  const client = ["iperf3", "--client", to.address, "--time", String(seconds), "--json", ...options];
  let figure = Number.NaN;
  let answer = "";
  await untilReady(
    async () => {
      const run = promisify(execFile)("nsenter", [`--net=${from.netns.path}`, ...client]);
      const { stdout } = await run.catch((error: Error & { stdout?: string }) => ({
        stdout: error.stdout || error.message,
      }));
      answer = stdout;
      figure = read((JSON.parse(stdout) as { end: IperfEnd }).end);
      return true;
    },
    () => `iperf3 gives no figures but ${answer}`,
  );
  return figure;
}

/** Two containers, the second with an iperf3 server that ends with its namespace. */
function overlayBetween(lab: Lab, [first, second]: readonly [Host, Host]): Overlay {
  const overlay = { lab, from: first.addContainer(), to: second.addContainer() };
  spawn("nsenter", [`--net=${overlay.to.netns.path}`, "iperf3", "--server"], { stdio: "ignore" });
  return overlay;
}
