import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { NAME_SERVER_INPUT, NAME_SERVER_RULES } from "../../../agent/names/name-server-rules.ts";
import { CommandRunner } from "../../../backends/firewall/command.ts";
import { IptablesEngine } from "../../../backends/firewall/iptables.ts";
import { planFirewall } from "../../../backends/firewall/plan.ts";
import { type Bundle, bundle } from "../../support/bundle.ts";
import { type Daemon, startDaemon, untilReady } from "../../support/daemon.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const SERVER = "169.254.53.53";

/**
 * A host with two bridges of containers, and a bridge and an interface to other hosts:
 *
 *     c1 172.30.0.2 (red), c2 172.30.0.3 (unknown) ── br-one ─┐
 *     c3 172.31.0.2 (blue) ───────────────────────── br-two ──┤ host
 *     lan 192.0.2.9 ────────────────────────────────── eth0 ──┤
 *     far 198.51.100.9 ── br-lan, which has the default route ─┘
 */
describeAsRoot("the name server on real sockets", () => {
  const spaces: Record<string, TestNetns> = {};
  let folder = "";
  let program: Bundle;
  let daemon: Daemon;

  const space = (name: string): TestNetns => {
    const found = spaces[name];
    if (found === undefined) throw new Error(`no namespace ${name}`);
    return found;
  };

  /** A container, or a neighbour, whose end of a veth pair has this address. */
  function attach(name: string, address: string, gateway: string, ...hostEnd: string[]): void {
    const netns = createNetns(name);
    spaces[name] = netns;
    const host = space("host");
    host.ip(
      `link add v-${name} type veth peer name eth0 netns ${netns.name}`,
      `link set v-${name} up`,
      ...hostEnd,
    );
    netns.ip(`address add ${address} dev eth0`, "link set eth0 up", `route add default via ${gateway}`);
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tulle-names-"));
    const host = createNetns("host");
    spaces.host = host;
    for (const [bridge, address] of [
      ["br-one", "172.30.0.1/24"],
      ["br-two", "172.31.0.1/24"],
      ["br-lan", "198.51.100.1/24"],
    ] as const)
      host.ip(
        `link add ${bridge} type bridge`,
        `address add ${address} dev ${bridge}`,
        `link set ${bridge} up`,
      );
    attach("c1", "172.30.0.2/24", "172.30.0.1", "link set v-c1 master br-one");
    attach("c2", "172.30.0.3/24", "172.30.0.1", "link set v-c2 master br-one");
    attach("c3", "172.31.0.2/24", "172.31.0.1", "link set v-c3 master br-two");
    attach("lan", "192.0.2.9/24", "192.0.2.1", "address add 192.0.2.1/24 dev v-lan");
    // The default route by a router makes a bridge lead out of the host.
    attach("far", "198.51.100.9/24", "198.51.100.1", "link set v-far master br-lan");
    host.ip("route add default via 198.51.100.254");
    writeFileSync(join(folder, "resolv.conf"), "nameserver 169.254.53.53\nnameserver 127.0.0.53\n");
    program = await bundle("names-process.ts");
    const clients = { "172.30.0.2": [1], "172.31.0.2": [2], "192.0.2.9": [1], "198.51.100.9": [1] };
    daemon = startDaemon(
      process.execPath,
      [program.path, join(folder, "resolv.conf"), JSON.stringify(clients)],
      { netns: host },
    );
    await untilReady(
      async () => dig("c1", "web").includes("10.100.0.2"),
      () => daemon.output,
    );
  });
  afterAll(async () => {
    await daemon?.kill();
    program?.dispose();
    for (const netns of Object.values(spaces)) netns.dispose();
    rmSync(folder, { recursive: true });
  });

  /** What dig prints with +short; what it says about a failure too. */
  function dig(from: string, ...query: string[]): string {
    const args = [
      `--net=${space(from).path}`,
      "dig",
      `@${SERVER}`,
      "+tries=1",
      "+time=1",
      "+short",
      ...query,
    ];
    return spawnSync("nsenter", args, { encoding: "utf8" }).stdout.trim();
  }

  function digStatus(from: string, ...query: string[]): string {
    const output = dig(from, "+noshort", "+comments", ...query);
    return /status: (\w+)/.exec(output)?.[1] ?? output;
  }

  it("answers names of the asker's networks, by UDP and TCP", () => {
    for (const way of ["+notcp", "+tcp"]) {
      expect(dig("c1", way, "web")).toBe("10.100.0.2");
      expect(dig("c1", way, "web", "AAAA")).toBe("fd00::2");
      expect(dig("c3", way, "WeB.blue")).toBe("10.101.0.2");
      expect(dig("c1", way, "-x", "10.100.0.2")).toBe("web.red.");
      expect(dig("c1", way, "-x", "fd00::2")).toBe("web.red.");
      expect(dig("c1", way, "www").split("\n").sort()).toEqual(["10.100.0.2", "10.100.0.3"]);
    }
    expect(digStatus("c1", "db", "AAAA")).toBe("NOERROR");
    expect(dig("c1", "db", "AAAA")).toBe("");
  });

  it("gives an unknown container and other networks no names", () => {
    for (const from of ["c1", "c2"]) expect(digStatus(from, "secret")).toBe("NXDOMAIN");
    expect(dig("c2", "web")).toBe("");
    expect(digStatus("c1", "-x", "10.101.0.9")).toBe("NXDOMAIN");
    expect(dig("c3", "secret")).toBe("10.101.0.9");
  });

  it("passes other names on, for unknown containers and the host too", () => {
    for (const from of ["c1", "c2", "c3", "host"]) {
      expect(dig(from, "shop.example")).toBe("192.0.2.77");
      expect(digStatus(from, "nowhere")).toBe("NXDOMAIN");
    }
  });

  it("lets long answers be fetched by TCP, its own and others'", () => {
    expect(dig("c1", "+ignore", "+noshort", "+comments", "crowd")).toContain(" tc ");
    expect(dig("c1", "crowd").split("\n")).toHaveLength(200);
    expect(dig("c1", "big.example").split("\n")).toHaveLength(100);
  });

  it("is silent to other hosts, whether they come by an interface or by a bridge with the default route", () => {
    expect(space("lan").exec("ping", ["-c1", "-W1", "192.0.2.1"])).toContain(" 0% packet loss");
    expect(space("far").exec("ping", ["-c1", "-W1", "198.51.100.1"])).toContain(" 0% packet loss");
    for (const from of ["lan", "far"]) {
      for (const way of ["+notcp", "+tcp"]) {
        for (const name of ["web", "shop.example"])
          expect(dig(from, way, name)).toMatch(/timed out|no servers/);
      }
    }
  });

  it("does not answer to a container that gives itself the address of somebody outside", () => {
    space("c2").ip("address add 203.0.113.5/32 dev eth0");
    expect(dig("c2", "-b", "203.0.113.5", "shop.example")).toMatch(/timed out|no servers/);
    expect(dig("c2", "shop.example")).toBe("192.0.2.77");
  });

  it("serves containers on a bridge that appears later", async () => {
    const host = space("host");
    host.ip("link add br-new type bridge", "address add 172.29.0.1/24 dev br-new", "link set br-new up");
    attach("late", "172.29.0.2/24", "172.29.0.1", "link set v-late master br-new");
    await untilReady(
      async () => dig("late", "shop.example") === "192.0.2.77",
      () => daemon.output,
      5000,
    );
  });

  it("is asked by containers of a host that drops what comes in, and costs no rule where nothing does", async () => {
    const host = space("host");
    const engine = new IptablesEngine(new CommandRunner(["nsenter", `--net=${host.path}`]));
    const plans = new Map([[NAME_SERVER_RULES, planFirewall(NAME_SERVER_INPUT)]]);
    const ways = ["+notcp", "+tcp"];
    expect(await engine.reconcile(plans)).toEqual([]);
    host.exec("iptables", ["-A", "INPUT", "-i", "lo", "-j", "ACCEPT"]);
    host.exec("iptables", ["-P", "INPUT", "DROP"]);
    for (const way of ways) expect(dig("c1", way, "web")).not.toContain("10.100.0.2");
    expect(await engine.reconcile(plans)).not.toEqual([]);
    for (const way of ways) expect(dig("c1", way, "web")).toBe("10.100.0.2");
    expect(host.exec("iptables", ["-S", "INPUT"])).toContain("-A INPUT -j FLANNEL-DNS-nameserver\n");
    expect(await engine.reconcile(plans)).toEqual([]);
    for (const from of ["lan", "far"]) expect(dig(from, "web")).toMatch(/timed out|no servers/);
    host.exec("iptables", ["-P", "INPUT", "ACCEPT"]);
    host.exec("iptables", ["-F", "INPUT"]);
    await engine.reconcile(plans);
    expect(host.exec("iptables-save", [])).not.toContain("FLANNEL-DNS");
  });

  it("puts its address back", async () => {
    const host = space("host");
    for (const damage of [`address delete ${SERVER}/32 dev lo`, "link set lo down"]) {
      host.ip(damage, "link set lo up");
      await untilReady(
        async () => dig("c1", "web") === "10.100.0.2" && dig("c1", "+tcp", "web") === "10.100.0.2",
        () => `${damage}: ${daemon.output}`,
        5000,
      );
    }
    expect(host.ipJson(["address", "show", "lo"])[0]).toMatchObject({
      addr_info: expect.arrayContaining([expect.objectContaining({ local: SERVER, prefixlen: 32 })]),
    });
  });

  it("is understood by the C library and by busybox, with a search list", () => {
    const file = join(folder, "container-resolv.conf");
    writeFileSync(file, `nameserver ${SERVER}\nsearch svc.example.test\noptions ndots:0 timeout:2\n`);
    const inContainer = (script: string) =>
      space("c1").exec("unshare", [
        "--mount",
        "sh",
        "-c",
        `mount --bind ${file} /etc/resolv.conf && ${script}`,
      ]);
    expect(inContainer("getent ahosts web")).toMatch(/^10\.100\.0\.2\s+STREAM|^fd00::2\s+STREAM/m);
    expect(inContainer("getent ahostsv4 db")).toMatch(/^10\.100\.0\.3\s+STREAM/);
    expect(inContainer("getent hosts 10.100.0.2")).toMatch(/web\.red/);
    expect(inContainer("getent ahostsv4 shop.example")).toMatch(/^192\.0\.2\.77/);
    expect(inContainer("getent ahostsv4 nowhere || echo none")).toBe("none\n");
    // Its exit status is 1 for any name without an IPv6 address.
    expect(inContainer("{ busybox nslookup db. || true; }")).toContain("10.100.0.3");
    expect(inContainer("busybox nslookup web.")).toMatch(/10\.100\.0\.2[\s\S]*fd00::2/);
  });

  it("answers REFUSED where the host has no resolver, and follows a change of resolv.conf", async () => {
    writeFileSync(join(folder, "resolv.conf"), `nameserver ${SERVER}\n`);
    await untilReady(
      async () => digStatus("c1", "shop.example") === "REFUSED",
      () => daemon.output,
      5000,
    );
    expect(dig("c1", "web")).toBe("10.100.0.2");
    writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.53\n");
    await untilReady(
      async () => dig("c1", "shop.example") === "192.0.2.77",
      () => daemon.output,
      5000,
    );
  });

  it("survives packets of any kind", () => {
    const flood = `
      const { createSocket } = require("node:dgram");
      const { connect } = require("node:net");
      const { randomBytes, randomInt } = require("node:crypto");
      const socket = createSocket("udp4");
      for (let i = 0; i < 5000; i++) socket.send(randomBytes(randomInt(1, 700)), 53, "${SERVER}");
      for (let i = 0; i < 50; i++) {
        const stream = connect(53, "${SERVER}");
        stream.on("error", () => {});
        stream.write(randomBytes(randomInt(1, 70000)));
      }
      setTimeout(() => process.exit(), 1000);`;
    space("c2").exec(process.execPath, ["-e", flood]);
    expect(daemon.pid).not.toBeNull();
    expect(dig("c1", "web")).toBe("10.100.0.2");
    expect(dig("c1", "+tcp", "web")).toBe("10.100.0.2");
  });

  it("says who is in its place, and takes the port when it is free", async () => {
    const host = space("host");
    await daemon.kill();
    const holder = startDaemon("python3", ["-c", HOLD_PORT], { netns: host });
    await untilReady(
      async () => holder.output.includes("bound"),
      () => holder.output,
    );
    daemon = startDaemon(
      process.execPath,
      [program.path, join(folder, "resolv.conf"), '{"172.30.0.2":[1]}'],
      {
        netns: host,
      },
    );
    await untilReady(
      async () => daemon.output.includes("port 53/tcp: EADDRINUSE (another program listens there"),
      () => daemon.output,
    );
    await holder.kill();
    await untilReady(
      async () => dig("c1", "web") === "10.100.0.2",
      () => daemon.output,
    );
  });
});

/** As a DNS server that listens on every address that it finds. */
const HOLD_PORT = `
import socket, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("${SERVER}", 53))
server.listen()
print("bound", flush=True)
time.sleep(600)`;
