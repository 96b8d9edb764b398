/** A real firewalld in a namespace, with a message bus of its own: what it rejects, and what our policies let pass. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FirewallGuard } from "../../../backends/firewall/guard.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import type { FirewallInput } from "../../../backends/firewall/plan-input.ts";
import { EMPTY_PLAN } from "../../../backends/firewall/rules.ts";
import { Toolset } from "../../../backends/firewall/toolset.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { BRIDGE_PREFIX } from "../../../backends/segments/names.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { OUTSIDE, outsideGateway } from "../../../ipam/containers/outside.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { canPing } from "../../support/can-ping.ts";
import { type Daemon, startDaemon, untilReady } from "../../support/daemon.ts";
import { FIREWALL_INPUT, tunnelInput } from "../../support/firewall-input.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const INPUT: FirewallInput = {
  ...FIREWALL_INPUT,
  masquerade: { isEnabled: false, randomFully: true, excluded: [] },
  prefersNft: true,
  tunnels: { 4: tunnelInput({ parentInterface: "out", address: Address.parse("10.2.55.1") }) },
  openPort: true,
  containerInterfaces: [],
};
const PLAN = planFirewall(INPUT);
/** As of a host with containers on named networks, which reach the outside by a bridge of their own. */
const SEGMENTS_PLAN = planFirewall({
  ...INPUT,
  networks: {},
  containers: {},
  subnets: {},
  entrances: {},
  tunnels: {},
  segments: {
    prefix: BRIDGE_PREFIX,
    bridges: ["tb-1000"],
    families: [4],
    ports: [],
    outside: { name: OUTSIDE.name, subnets: { 4: OUTSIDE.subnets[4] } },
  },
});

const isInstalled = ["firewalld", "dbus-daemon"].every(
  (program) => spawnSync("which", [program]).status === 0,
);
const describeWithFirewalld: typeof describeAsRoot = (name, body) =>
  isInstalled || process.env.CI
    ? describeAsRoot(name, body)
    : describe.skip(`${name} (firewalld or dbus-daemon not installed)`, body);

describeWithFirewalld("the firewall beside firewalld", () => {
  let directory: string;
  let host: TestNetns;
  let left: TestNetns;
  let right: TestNetns;
  let handle: NetnsHandle;
  let guard: FirewallGuard;
  const daemons: Daemon[] = [];

  /** Enters the host, where /run and /etc/firewalld are the host's own. */
  const prefix = (): string[] => {
    const mounts = 'mount --bind "$0/run" /run && mount --bind "$0/etc" /etc/firewalld && exec "$@"';
    const unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", mounts, directory];
    return ["nsenter", `--net=${host.path}`, ...unshare];
  };
  const firewallCmd = (...args: string[]): string => {
    const [program = "", ...rest] = [...prefix(), "firewall-cmd", ...args];
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8" });
    if (status !== 0) throw new Error(`firewall-cmd ${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  const startBeside = (command: string, ...args: string[]): void => {
    const [program = "", ...rest] = [...prefix(), command, ...args];
    daemons.push(startDaemon(program, rest));
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "tulle-firewalld-"));
    for (const folder of ["run/dbus", "etc"]) mkdirSync(join(directory, folder), { recursive: true });
    cpSync("/etc/firewalld", join(directory, "etc"), { recursive: true });
    host = createNetns("fwdhost");
    left = createNetns("fwdleft");
    right = createNetns("fwdright");
    connect(host, left, "in", "10.2.54.1/24", "10.2.54.2/24");
    connect(host, right, "out", "10.2.55.1/24", "10.2.55.2/24");
    host.exec("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
    handle = NetnsHandle.open(host.path);
    startBeside("dbus-daemon", "--system", "--nofork", "--nopidfile", "--nosyslog");
    startBeside("firewalld", "--nofork", "--nopid");
    await untilReady(
      async () => firewallCmd("--state") === "running",
      () => daemons.map(({ output }) => output).join(),
    );
    firewallCmd("--permanent", "--zone=external", "--add-interface=out");
    firewallCmd("--permanent", "--zone=internal", "--add-interface=in");
    firewallCmd("--permanent", "--zone=external", "--remove-masquerade");
    firewallCmd("--reload");
    guard = new FirewallGuard({
      choice: "nft",
      resyncSeconds: 3600,
      log: silentLogger,
      clock: systemClock,
      commandPrefix: prefix(),
      netns: handle,
    });
    guard.start();
  });
  afterAll(async () => {
    await guard.stop();
    handle.close();
    for (const daemon of daemons.reverse()) await daemon.kill();
    for (const netns of [host, left, right]) netns.dispose();
    rmSync(directory, { recursive: true });
  });

  it("lets the network pass where firewalld rejects what it forwards, and opens the port", async () => {
    expect(canPing(left, "10.2.55.2")).toBe(false);
    await guard.update(null, PLAN);
    expect(guard.status()).toMatchObject({ isInSync: true, lastError: null });
    expect(canPing(left, "10.2.55.2")).toBe(true);
    expect(firewallCmd("--policy=tulle-tunnel", "--list-ports")).toBe("8472/udp");
  });

  it("survives a reload, and restores a rule that another program removes", async () => {
    firewallCmd("--reload");
    expect(canPing(left, "10.2.55.2")).toBe(true);
    const rule = firewallCmd("--policy=tulle", "--list-rich-rules").split("\n")[0] ?? "";
    const { repairs } = guard.status();
    firewallCmd("--policy=tulle", `--remove-rich-rule=${rule}`);
    await expect.poll(() => guard.status().repairs, { timeout: 20_000 }).toBeGreaterThan(repairs);
    expect(firewallCmd("--policy=tulle", "--list-rich-rules").split("\n")).toHaveLength(2);
  });

  it("lets frames of named networks pass, and what their containers exchange with the outside", async () => {
    const [one, other] = [createNetns("fwdone"), createNetns("fwdother")];
    const gateway = outsideGateway(4);
    host.ip(
      "link add tb-1000 up type bridge",
      `link add ${OUTSIDE.name} up type bridge`,
      `addr add ${gateway}/20 dev ${OUTSIDE.name}`,
      `link add port1 up master tb-1000 type veth peer name eth0 netns ${one.name}`,
      `link add port2 up master tb-1000 type veth peer name eth0 netns ${other.name}`,
      `link add port3 up master ${OUTSIDE.name} type veth peer name eth1 netns ${one.name}`,
    );
    one.ip("link set eth0 up", "addr add 10.9.0.1/24 dev eth0");
    one.ip(
      "link set eth1 up",
      `addr add ${gateway.plus(1n)}/20 dev eth1`,
      `route add default via ${gateway}`,
    );
    other.ip("link set eth0 up", "addr add 10.9.0.2/24 dev eth0");
    host.exec("sysctl", ["-qw", "net.bridge.bridge-nf-call-iptables=1"]);
    right.ip("addr add 192.0.2.1/32 dev eth0");
    host.ip("route add 192.0.2.1/32 via 10.2.55.2");
    const pings = (): boolean[] => [canPing(one, "10.9.0.2"), canPing(one, "192.0.2.1")];
    host.ip("link set lo up", "addr add 169.254.53.53/32 dev lo");
    daemons.push(serveNames(host, "udp"), serveNames(host, "tcp"));
    expect(pings()).toEqual([false, false]);
    expect(askNames(one)).toEqual([false, false]);
    await guard.update("namednets", SEGMENTS_PLAN);
    expect(guard.status()).toMatchObject({ isInSync: true, lastError: null });
    expect(pings()).toEqual([true, true]);
    expect(askNames(one)).toEqual([true, true]);
    const { repairs } = guard.status();
    firewallCmd("--reload");
    firewallCmd("--zone=tulle-bridges", "--remove-interface=tb-+");
    await expect.poll(() => guard.status().repairs, { timeout: 20_000 }).toBeGreaterThan(repairs);
    expect(guard.status().lastRepair?.found).toEqual(["firewalld: zone tulle-bridges differs"]);
    expect(pings()).toEqual([true, true]);
    for (const netns of [one, other]) netns.dispose();
  });

  it("needs no other network for that", async () => {
    await guard.update(null, EMPTY_PLAN);
    expect(guard.status()).toMatchObject({ isInSync: true, lastError: null });
  });

  it("removes its policies and its zone, also those that were emptied, and leaves other zones", async () => {
    await guard.update("namednets", SEGMENTS_PLAN);
    await guard.stop();
    for (const rule of firewallCmd("--policy=tulle", "--list-rich-rules").split("\n"))
      firewallCmd("--policy=tulle", `--remove-rich-rule=${rule}`);
    firewallCmd("--zone=tulle-bridges", "--remove-interface=tb-+");
    const tools = new Toolset({ choice: "nft", log: silentLogger, commandPrefix: prefix() });
    expect(await tools.remove()).toContain("firewalld: policy tulle differs");
    expect(firewallCmd("--get-policies")).not.toContain("tulle");
    expect(firewallCmd("--get-zones")).not.toContain("tulle");
    expect(firewallCmd("--zone=external", "--list-interfaces")).toBe("out");
  });
});

const SERVERS = {
  udp: "const s=require('dgram').createSocket('udp4');s.on('message',(_,r)=>s.send('x',r.port,r.address));s.bind(53,'169.254.53.53')",
  tcp: "require('net').createServer((s)=>s.end('x')).listen(53,'169.254.53.53')",
};

/** In the place of tulled's name server: answers whatever comes to port 53. */
function serveNames(host: TestNetns, protocol: "udp" | "tcp"): Daemon {
  return startDaemon("nsenter", [`--net=${host.path}`, process.execPath, "-e", SERVERS[protocol]]);
}

/** Whether the name server's address answers by UDP, and by TCP. */
function askNames(container: TestNetns): boolean[] {
  const asks = [
    "const s=require('dgram').createSocket('udp4');s.on('message',()=>process.exit(0));s.send('x',53,'169.254.53.53')",
    "require('net').connect(53,'169.254.53.53').on('data',()=>process.exit(0)).on('error',()=>process.exit(1))",
  ];
  return asks.map((ask) => {
    const late = "setTimeout(()=>process.exit(1),1000);";
    const { status } = spawnSync("nsenter", [`--net=${container.path}`, process.execPath, "-e", late + ask]);
    return status === 0;
  });
}

function connect(host: TestNetns, peer: TestNetns, name: string, inner: string, outer: string): void {
  host.exec("ip", ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", peer.name]);
  host.exec("ip", ["addr", "add", inner, "dev", name]);
  host.exec("ip", ["link", "set", name, "up"]);
  peer.exec("ip", ["addr", "add", outer, "dev", "eth0"]);
  peer.exec("ip", ["link", "set", "eth0", "up"]);
  peer.exec("ip", ["route", "add", "default", "via", inner.replace(/\/.*/, "")]);
}
