/** Two networks in one daemon: apart by default, and each alive while the other one fails. Shown with packets. */

import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Daemon } from "../../agent/demo/daemon.ts";
import { askControl } from "../../agent/report/control.ts";
import type { NetworkSummary } from "../../agent/report/status.ts";
import { systemClock } from "../../ipam/clock.ts";
import { parseSubnetEnv } from "../../ipam/config/subnet-env.ts";
import { silentLogger } from "../../ipam/log.ts";
import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import { openFileStore } from "../../ipam/stores/file/store.ts";
import { createLab, fileStoreOf, type Host, type Lab, ping } from "../support/hosts.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../support/netns.ts";

const PROGRAM_DIR = join(import.meta.dirname, "../../node_modules/.cache", `tulle-networks-${process.pid}`);
const BLUE = { Network: "10.3.0.0/16", Backend: { Type: "vxlan", VNI: 2 } };

interface Box {
  readonly netns: TestNetns;
  readonly address: string;
}

describeAsRoot("two networks in one daemon", () => {
  let lab: Lab;
  let store: string;
  let program: string;
  const daemons = new Map<Host, Daemon>();
  const boxes: Box[] = [];

  beforeAll(async () => {
    lab = createLab("networks");
    program = await buildProgram();
    await fileStoreOf(lab, {
      Network: "10.2.0.0/16",
      SubnetMax: "10.2.63.0",
      Backend: { Type: "vxlan" },
    });
    store = await fileStoreOf(lab, BLUE, "/blue");
    for (const host of [lab.addHost(), lab.addHost()]) {
      const environment = ["env", "BLUE_PREFIX=/blue", "BLUE_SUBNET_FILE=/run/blue/subnet.env"];
      const command = host.enter(...environment, process.execPath, program);
      const logFile = join(lab.directory, `${host.name}.log`);
      daemons.set(host, new Daemon({ command, runDirectory: host.runDirectory, logFile }));
    }
  });
  afterAll(async () => {
    for (const daemon of daemons.values()) await daemon.kill().catch(() => undefined);
    for (const { netns } of boxes) netns.dispose();
    lab.dispose();
    rmSync(PROGRAM_DIR, { recursive: true, force: true });
  });

  const hosts = () => [...daemons.keys()] as [Host, Host];
  const spawn = (host: Host) =>
    daemons.get(host)?.spawn(`--store=${store}`, `--state-dir=${host.stateDirectory}`);
  const ask = async <T>(host: Host, route: string): Promise<T> =>
    (await askControl(join(host.runDirectory, "tulle"), route, AbortSignal.timeout(5000))) as T;
  const networks = (host: Host) => ask<NetworkSummary[]>(host, "/networks").catch(() => []);
  const readiness = async (host: Host) => (await networks(host)).map(({ isReady }) => isReady);
  const untilReadiness = (host: Host, ...expected: boolean[]) =>
    expect.poll(() => readiness(host), { timeout: 30_000 }).toEqual(expected);

  /** A container of the network whose subnet file is at `file`, behind a bridge of its own. */
  function addBox(host: Host, network: string, file: string): Box {
    const { subnets } = parseSubnetEnv(readFileSync(join(host.runDirectory, file), "utf8"));
    const gateway = subnets[4];
    if (gateway === undefined) throw new Error(`${file} names no IPv4 subnet`);
    const netns = createNetns(network);
    const address = gateway.address.plus(1).toString();
    const [bridge, veth] = [`br-${network}`, `v-${network}`];
    host.netns.ip(
      `link add ${bridge} type bridge`,
      `address add ${gateway.address}/24 dev ${bridge}`,
      `link set ${bridge} up`,
      `link add ${veth} master ${bridge} up type veth peer name eth0 netns ${netns.name}`,
    );
    netns.ip(
      `address add ${address}/24 dev eth0`,
      "link set eth0 up",
      `route add default via ${gateway.address}`,
    );
    host.netns.exec("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    const box = { netns, address };
    boxes.push(box);
    return box;
  }

  const lossOf = async (from: Box, to: Box): Promise<number> => {
    const { sent, lost } = await ping(from.netns, to.address, 10);
    return lost.length / sent;
  };

  it("get subnets, devices, files and metrics of their own", async () => {
    const [one, two] = hosts();
    spawn(one);
    spawn(two);
    await untilReadiness(one, true, true);
    await untilReadiness(two, true, true);
    const [first, blue] = await networks(one);
    expect(first).toMatchObject({ name: null, status: { network: { ranges: ["10.2.0.0/16"] } } });
    expect(blue).toMatchObject({
      name: "blue",
      status: { network: { name: "blue", ranges: ["10.3.0.0/16"] } },
    });
    expect(blue?.status?.devices.map(({ name }) => name)).toEqual(["flannel.2"]);
    const metrics = await ask<string>(one, "/metrics");
    expect(metrics).toMatch(/^tulle_peers 1$/m);
    expect(metrics).toMatch(/^tulle_peers\{network="blue"\} 1$/m);
    expect(await ask<string>(one, "/summary")).toMatch(
      /^10\.2\..* on eth0, 1 peers; blue: 10\.3\..* on eth0, 1 peers$/,
    );
  });

  it("carry packets inside each network, and none from one to the other", async () => {
    const [one, two] = hosts();
    const red = [addBox(one, "red", "flannel/subnet.env"), addBox(two, "red", "flannel/subnet.env")] as const;
    const blue = [addBox(one, "blue", "blue/subnet.env"), addBox(two, "blue", "blue/subnet.env")] as const;
    // New bridge ports take a moment to forward.
    await expect.poll(() => lossOf(red[0], red[1])).toBe(0);
    await expect.poll(() => lossOf(blue[0], blue[1])).toBe(0);
    for (const [from, to] of [
      [red[0], blue[0]],
      [blue[0], red[0]],
      [red[0], blue[1]],
      [blue[0], red[1]],
    ] as const)
      expect(await lossOf(from, to)).toBe(1);
  });

  it.each([
    { network: "blue", device: "flannel.2", survivor: 0, failed: [true, false] },
    { network: "the first", device: "flannel.1", survivor: 1, failed: [false, true] },
  ])("survive a foreign program that holds the device of $network", async ({ device, survivor, failed }) => {
    const [one] = hosts();
    const [from, to] = survivor === 0 ? [boxes[0], boxes[1]] : [boxes[2], boxes[3]];
    if (from === undefined || to === undefined) throw new Error("the containers are missing");
    await daemons.get(one)?.kill();
    one.netns.ip(`link delete ${device}`, `link add ${device} type bridge`);
    spawn(one);
    await untilReadiness(one, ...(failed as [boolean, boolean]));
    const summary = async () => (await networks(one))[1 - survivor]?.summary;
    await expect.poll(summary, { timeout: 10_000 }).toContain(`link ${device}`);
    expect(await lossOf(from, to)).toBe(0);
    one.netns.ip(`link delete ${device}`);
    await untilReadiness(one, true, true);
  });

  it("survive a broken configuration of the other, which joins when it is mended", async () => {
    const [one] = hosts();
    await daemons.get(one)?.kill();
    await putBlueConfig({ Network: "10.3.0.0/16", SubnetLen: 99 });
    spawn(one);
    await untilReadiness(one, true, false);
    await expect.poll(async () => (await networks(one))[1]?.summary).toContain("SubnetLen");
    await putBlueConfig(BLUE);
    await untilReadiness(one, true, true);
  });

  it("start again as a whole when a part fails, and nothing of the old one works against it", async () => {
    const [one] = hosts();
    const daemon = daemons.get(one);
    process.kill(daemon?.pid ?? 0, "SIGUSR2");
    // No other message of the store ends the wait.
    await expect.poll(() => daemon?.log, { timeout: 10_000 }).toMatch(/network failed/);
    await untilReadiness(one, true, true);
    const subnet = "10.2.99.0/24";
    const route = () => one.netns.exec("ip", ["route", "show", subnet]);
    await putLease("10.2.99.0-24", "192.168.50.99");
    await expect.poll(route, { timeout: 10_000 }).not.toBe("");
    for (let look = 0; look < 30; look++) {
      expect(route()).not.toBe("");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const [first] = await networks(one);
    expect(first?.status?.kernel).toMatchObject({ contended: [] });
  });

  const { signal } = new AbortController();

  function openStore(): StoreConnection {
    const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
    return openFileStore(join(lab.directory, "store"), environment);
  }

  async function putLease(key: string, PublicIP: string): Promise<void> {
    const BackendData = { VNI: 1, VtepMAC: "02:00:00:00:00:99" };
    const value = JSON.stringify({ PublicIP, BackendType: "vxlan", BackendData });
    const connection = openStore();
    await connection.network("/coreos.com/network").leases.create(key, value, 3600, signal);
    await connection.close();
  }

  async function putBlueConfig(config: object): Promise<void> {
    const connection = openStore();
    const blue = connection.network("/blue");
    await blue.config.write(JSON.stringify(config), await blue.config.read(signal), signal);
    await connection.close();
  }
});

async function buildProgram(): Promise<string> {
  mkdirSync(PROGRAM_DIR, { recursive: true });
  const outfile = join(PROGRAM_DIR, "networks.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "../support/networks-process.ts")],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    outfile,
  });
  return outfile;
}
