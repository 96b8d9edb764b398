/** Hosts of the udp backend in namespaces: a runner each, with the kernel's objects made by hand. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import process from "node:process";
import { TunnelRunner } from "../../backends/datapath/tunnel-runner.ts";
import { NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";
import { createTun, openTun } from "../../backends/netlink/tun-file.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { silentLogger } from "../../ipam/log.ts";
import { createNetns, type TestNetns } from "./netns.ts";
import { NOTHING_KEPT } from "./nothing-kept.ts";
import { udpLease } from "./udp-lease.ts";

export const UDP_PORT = 8285;
export const MTU_BYTES = 1472;
const DEVICE = "flannel0";

/** A bridge that hosts are plugged into. */
export function createLan(): TestNetns {
  const lan = createNetns("lan");
  lan.ip("link add lan0 type bridge", "link set lan0 up");
  return lan;
}

/** A namespace at the LAN, with the addresses of host `number` and no tunnel. */
export function plugIn(lan: TestNetns, number: number): TestNetns {
  const netns = createNetns(`udp${number}`);
  lan.ip(
    `link add port${number} type veth peer name eth0 netns ${netns.name}`,
    `link set port${number} master lan0 up`,
  );
  netns.ip(
    `address add 192.168.77.${number}/24 dev eth0`,
    `address add fd77::${number}/64 dev eth0 nodad`,
    "link set eth0 up",
  );
  return unpluggedFirst(netns);
}

/**
 * The same namespace, which takes its cable out before it goes. The kernel dismantles a namespace some time after its
 * last use, and the LAN's end of the pair, whose name the next host of that number takes, would stay until then.
 */
function unpluggedFirst(netns: TestNetns): TestNetns {
  let isPlugged = true;
  const dispose = (): void => {
    if (isPlugged) netns.ip("link delete eth0");
    isPlugged = false;
    netns.dispose();
  };
  return { ...netns, dispose };
}

export interface UdpHost {
  readonly netns: TestNetns;
  readonly container: TestNetns;
  readonly runner: TunnelRunner;
  /** The same host with another runner, once the former has been stopped. */
  restarted(peers: readonly Lease[]): UdpHost;
  dispose(): Promise<void>;
}

/** A host whose container has 10.2.N.2 and fd00:2:0:N::2. */
export function startUdpHost(lan: TestNetns, number: number, program: URL, peers: readonly Lease[]): UdpHost {
  const netns = plugIn(lan, number);
  netns.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  makeDevice(netns, number);
  return hostWith(netns, addContainer(netns, number), number, program, peers);
}

function hostWith(
  netns: TestNetns,
  container: TestNetns,
  number: number,
  program: URL,
  peers: readonly Lease[],
): UdpHost {
  const listeners = [`192.168.77.${number}`, `fd77::${number}`].map((address) => ({
    address,
    port: UDP_PORT,
  }));
  const options = { device: DEVICE, listeners, port: UDP_PORT, program, netns: netns.path };
  const runner = new TunnelRunner(options, {
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    faults: new Faults(silentLogger),
    stateDir: "/nonexistent",
    descriptors: NOTHING_KEPT,
    onChange: () => undefined,
  });
  runner.follow({ own: udpLease(number, { families: [4, 6] }).subnets, peers: peersOf(peers) });
  return {
    netns,
    container,
    runner,
    restarted: (next) => hostWith(netns, container, number, program, next),
    dispose: async () => {
      await runner.stop();
      container.dispose();
      netns.dispose();
    },
  };
}

/** The device with its addresses and routes, as the backend plans them. */
export function makeDevice(netns: TestNetns, number: number): void {
  inside(netns, () => createTun(DEVICE));
  netns.exec("sysctl", ["-qw", `net.ipv4.conf.${DEVICE}.accept_local=1`]);
  netns.ip(
    `link set ${DEVICE} mtu ${MTU_BYTES} up`,
    `address add 10.2.${number}.0/32 dev ${DEVICE}`,
    `address add fd00:2:0:${number}::/128 dev ${DEVICE} nodad`,
    `route add 10.2.0.0/16 dev ${DEVICE}`,
    `route add fd00:2::/48 dev ${DEVICE}`,
  );
}

/** Opens the device as another program would; answers what closes it. */
export function holdDevice(netns: TestNetns): () => void {
  const fd = inside(netns, () => openTun(DEVICE));
  return () => closeSync(fd);
}

/** Binds the port as another program would; answers what ends that. */
export async function holdPort(netns: TestNetns): Promise<() => void> {
  const hold = `require("node:dgram").createSocket("udp4").bind(${UDP_PORT}, () => console.log("ready"))`;
  const child = spawn("nsenter", [`--net=${netns.path}`, process.execPath, "-e", hold]);
  await once(child.stdout, "data");
  return () => void child.kill();
}

function inside<T>(netns: TestNetns, body: () => T): T {
  const handle = NetnsHandle.open(netns.path);
  try {
    return withNetns(handle, body);
  } finally {
    handle.close();
  }
}

export function peersOf(leases: readonly Lease[]): ReadonlyMap<LeaseKey, Lease> {
  return new Map(leases.map((lease) => [lease.key, lease]));
}

/** A container of host `number`, with its addresses of both families. */
export function addContainer(host: TestNetns, number: number): TestNetns {
  const container = createNetns(`box${number}`);
  host.ip(
    `link add box0 mtu ${MTU_BYTES} type veth peer name eth0 mtu ${MTU_BYTES} netns ${container.name}`,
    "link set box0 up",
    `address add 10.2.${number}.1/24 dev box0`,
    `address add fd00:2:0:${number}::1/64 dev box0 nodad`,
  );
  container.ip(
    `address add 10.2.${number}.2/24 dev eth0`,
    `address add fd00:2:0:${number}::2/64 dev eth0 nodad`,
    "link set eth0 up",
    `route add default via 10.2.${number}.1`,
    `route add default via fd00:2:0:${number}::1`,
  );
  return container;
}
