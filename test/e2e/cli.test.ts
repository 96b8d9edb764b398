/**
 * The command line beside running daemons: what it shows is what they do, and cleanup removes our objects and no
 * others.
 */

import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { describeWithEtcd, type Host, TULLE, useEtcdLab, useLab } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";

/** Foreign objects, each of which resembles one of ours. */
const FOREIGN = [
  "link add flannel.9 type vxlan id 9 dstport 4790 local 192.168.50.11 dev eth0 nolearning",
  "link set flannel.9 up",
  "route add 10.99.0.0/24 via 192.168.50.77 dev eth0 proto 116",
  "route add 10.2.250.0/24 via 192.168.50.77 dev eth0",
  "address add 10.2.251.1/32 dev eth0",
];

/** Subnets beyond the last one belong to other programs. */
const NETWORK = ["--network", "10.2.0.0/16", "--subnet-max", "10.2.199.0"];

describeAsRoot("the command line on a host", () => {
  const lab = useLab("cli");
  let host: Host;
  let flags: string[];
  let before: string;

  beforeAll(async () => {
    host = lab().addHost();
    lab().addHost();
    flags = [`--store=file:${join(lab().directory, "store")}`, "--iface=eth0", "--ip-masq"];
    host.netns.ip(...FOREIGN);
    before = stateOf(host);
  });

  /** Runs `tulle` on the host, with the daemon's state directory where the command takes one. */
  function tulle(...args: string[]): SpawnSyncReturns<string> {
    const [program = "", ...rest] = host.enter(...TULLE, ...args);
    return spawnSync(program, rest, { encoding: "utf8" });
  }

  const store = (): string => flags[0] ?? "";
  const cleanup = (...args: string[]) =>
    tulle("cleanup", store(), `--state-dir=${host.stateDirectory}`, ...args);

  it("has nothing to ask and nothing to remove before the first start", () => {
    expect(tulle("status")).toMatchObject({ status: 2, stdout: "" });
    expect(cleanup()).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/nothing of ours is here\n$/),
    });
    expect(stateOf(host)).toBe(before);
  });

  it("says that it needs the flags of tulled where the default store does not answer", () => {
    const hint =
      /these servers are the default: give -etcd-endpoints as for tulled \[TULLE_STORE_UNREACHABLE\]\n$/;
    expect(tulle("net", "show").stderr).toMatch(hint);
    const elsewhere = tulle("net", "show", "-etcd-endpoints=http://127.0.0.1:1").stderr;
    expect(elsewhere).toContain("[TULLE_STORE_UNREACHABLE]");
    expect(elsewhere).not.toMatch(hint);
  });

  it("leaves a daemon in peace that still waits for a configuration", async () => {
    host.daemon.spawn(...flags);
    await expect
      .poll(() => tulle("status").stdout, { timeout: 10_000 })
      .toMatch(
        /has not joined its network yet: waiting for a network configuration: there is none; write it/,
      );
    expect(cleanup()).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("[TULLE_ALREADY_RUNNING]"),
    });
    expect(cleanup("--dry-run").stdout).not.toContain("tulled.sock");
    expect(tulle("status").status).toBe(1);
    expect(await host.daemon.stop()).toBe(0);
  });

  it("writes the configuration that the daemons start with, and shows what they do", async () => {
    expect(tulle("net", "init", store(), ...NETWORK).status).toBe(0);
    await Promise.all(lab().hosts.map(({ daemon }) => daemon.start(...flags)));
    await host.daemon.until(({ peers }) => peers.length === 1, "knows its peer");
    const status = tulle("status");
    expect(status.status).toBe(0);
    expect(status.stdout).toMatch(/^state +ready$/m);
    const own = JSON.parse(tulle("status", "--json").stdout).lease.key;
    expect(tulle("leases", store()).stdout).toContain(own);
    expect(tulle("lease", "check", store())).toMatchObject({ status: 0, stdout: "2 leases, all in order\n" });
  });

  it("leaves no part of a report on a full disk", () => {
    const script = 'mount -t tmpfs -o size=4k tmpfs "$0" && "$@"; echo "code $?"; ls -A "$0"';
    const folder = join(lab().directory, "full");
    mkdirSync(folder);
    const report = [...TULLE, "report", "--output", join(folder, "report.tar.gz")];
    const words = host.enter("unshare", "--mount", "sh", "-c", script, folder, ...report);
    const { stdout, stderr } = spawnSync(words[0] ?? "", words.slice(1), { encoding: "utf8" });
    expect(stdout).toBe("code 1\n");
    expect(stderr).toMatch(/report\.tar\.gz cannot be written: .*(ENOSPC|[Nn]o space)/);
  });

  it("reports the settings of the daemon that runs", () => {
    const file = join(lab().directory, "report.tar.gz");
    expect(tulle("report", "--output", file).status).toBe(0);
    const { stdout } = spawnSync("tar", ["-xzOf", file, "--wildcards", "*/config.json"], {
      encoding: "utf8",
    });
    const { from, settings } = JSON.parse(stdout);
    expect(from).toMatch(/^the daemon that runs, process \d+$/);
    expect(settings).toContainEqual({ flag: "ip-masq", values: ["true"], source: "flag -ip-masq" });
  });

  it("examines the host before and after something is wrong with it", async () => {
    const doctor = (...args: string[]) =>
      tulle("doctor", store(), "--iface=eth0", `--state-dir=${host.stateDirectory}`, ...args);
    const links = host.netns.exec("ip", ["-o", "link"]);
    const well = doctor();
    expect(well).toMatchObject({ status: 0, stdout: expect.not.stringMatching(/^(fail|skip) /m) });
    expect(well.stdout).toMatch(/^ok +vxlan /m);
    expect(well.stdout).toMatch(/^ok +device +flannel\.1 is up$/m);
    expect(well.stdout).toMatch(/^ok +daemon +runs and is ready$/m);
    expect(host.netns.exec("ip", ["-o", "link"])).toBe(links);
    const ofDaemon = tulle("doctor").stdout;
    expect(ofDaemon).toMatch(/^ok +settings +those of the running daemon, process \d+$/m);
    expect(ofDaemon).toMatch(/^ok +store /m);
    expect(ofDaemon).toMatch(/^ok +own lease /m);

    const wrong = doctor("--public-ip=192.168.50.12");
    expect(wrong.stdout).toMatch(/^warn +address +lease 10\.2\..* another node id$/m);
    const unreachable = doctor("--store=etcd", "--etcd-endpoints=http://127.0.0.1:1");
    expect(unreachable.status).toBe(1);
    expect(unreachable.stdout).toMatch(/^fail +store /m);
    expect(unreachable.stdout).toMatch(/^ok +daemon /m);
  });

  it("reserves the lease of a running daemon, which goes on without noticing", async () => {
    const { key } = JSON.parse(tulle("lease", "show", store(), host.address, "--json").stdout);
    expect(tulle("lease", "reserve", store(), key.replace("-", "/")).stdout).toBe(`reserved: ${key}\n`);
    expect(await host.daemon.status()).toMatchObject({ isReady: true, lease: { key, state: "held" } });
    expect(tulle("lease", "release", store(), key).stdout).toBe(`released: ${key}\n`);
    expect(await host.daemon.status()).toMatchObject({ isReady: true, lease: { key, state: "held" } });
  });

  it("warns Docker of a subnet that is routed to somewhere else", () => {
    const [input, output] = [join(lab().directory, "subnet.env"), join(lab().directory, "docker.env")];
    const dockerOpts = (subnet: string) => {
      writeFileSync(input, `FLANNEL_SUBNET=${subnet}\n`);
      return tulle("docker-opts", "-c", "-f", input, "-d", output);
    };
    expect(dockerOpts("10.2.249.1/24")).toMatchObject({ status: 0, stderr: "" });
    const warned = dockerOpts("10.2.250.1/24");
    expect(warned.status).toBe(1);
    expect(warned.stderr).toMatch(/10\.2\.250\.0\/24 is routed via 192\.168\.50\.77.*\[TULLE_CONFLICT\]/);
    expect(readFileSync(output, "utf8")).toBe('DOCKER_OPTS=" --bip=10.2.250.1/24"\n');
  });

  describe("cleanup", () => {
    it("refuses beside a running daemon, and changes nothing when it only looks", () => {
      const running = stateOf(host);
      const refused = cleanup();
      expect(refused.status).toBe(1);
      expect(refused.stderr).toMatch(/manages flannel\.1: stop it first.*\[TULLE_ALREADY_RUNNING\]/);
      const dry = cleanup("--dry-run");
      expect(dry.status).toBe(0);
      expect(dry.stdout).toMatch(/^would remove link flannel\.1 /m);
      expect(stateOf(host)).toBe(running);
    });

    it("leaves the host as it was before the first start", async () => {
      expect(await host.daemon.stop()).toBe(0);
      const { status, stdout, stderr } = cleanup("--release-lease");
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(/^removed link flannel\.1 /m);
      expect(stdout).toMatch(/^removed file .*subnet\.env$/m);
      // A start in another network would hold peers of this one.
      expect(stdout).toMatch(/^removed file .*peers\.json$/m);
      expect(stdout).toMatch(/^removed firewall: /m);
      expect(stdout).toMatch(/^removed lease 10\.2\./m);
      expect(stdout).toMatch(/^left alone flannel\.9: /m);
      expect(stdout).toMatch(/^left alone route 10\.99\.0\.0\/24 /m);
      expect(stateOf(host)).toBe(before);
      expect(tulle("lease", "check", store()).stdout).toMatch(/^1 lease, all in order$/m);
    });

    it("finds nothing the second time", () => {
      expect(cleanup()).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/nothing of ours is here\n$/),
      });
    });

    it("finds direct routes and the socket of a daemon that was killed", async () => {
      const network = [...NETWORK, "--direct-routing", "--vni", "7"];
      await lab().hosts[1]?.daemon.stop();
      expect(tulle("net", "init", store(), "--force", ...network).status).toBe(0);
      await Promise.all(lab().hosts.map(({ daemon }) => daemon.start(...flags)));
      await host.daemon.until(
        ({ peers, network }) => peers[0]?.path === "direct" && network.formerBackends === undefined,
        "has changed over to direct routes",
      );
      await host.daemon.kill();
      const direct = /route 10\.2\.\S+ via 192\.168\.50\.12 dev eth0 proto 116/;
      expect(cleanup("--dry-run").stdout).toMatch(direct);
      const { status, stdout } = cleanup("--release-lease");
      expect(status).toBe(0);
      expect(stdout).toMatch(direct);
      expect(stdout).toMatch(/^removed link flannel\.7 /m);
      expect(stdout).toMatch(/^removed file .*tulled\.sock$/m);
      expect(stateOf(host)).toBe(before);
    });

    it("removes all of it when its output is not read to the end", async () => {
      await host.daemon.start(...flags);
      expect(await host.daemon.stop()).toBe(0);
      const command = host.enter(...TULLE, "cleanup", store(), `--state-dir=${host.stateDirectory}`);
      const { status, stderr } = spawnSync(
        "bash",
        ["-c", 'set -o pipefail; "$@" | true', "bash", ...command],
        {
          encoding: "utf8",
        },
      );
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stateOf(host)).toBe(before);
    });

    it("leaves a device alone that flanneld took over, and of the rules only flanneld's", async () => {
      await host.daemon.start(...flags);
      expect(await host.daemon.stop()).toBe(0);
      host.netns.ip("route add 10.2.253.0/24 via 10.2.253.0 dev flannel.7 onlink");
      const { status, stdout } = cleanup();
      expect(status).toBe(0);
      expect(stdout).toMatch(/^left alone flannel\.7: .*taken it over$/m);
      expect(stdout).toMatch(/^left alone rules for forwarding and masquerading and the subnet file: /m);
      expect(stdout).not.toMatch(/^removed (link flannel\.7|file .*subnet\.env)/m);
      const rules = host.netns.exec("iptables-save", []);
      expect(rules).toContain('-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD');
      expect(rules).not.toContain("FLANNEL-TUN");
      expect(host.netns.exec("ip", ["route"])).toMatch(
        /^10\.2\.253\.0\/24 via 10\.2\.253\.0 dev flannel\.7 onlink/m,
      );
    });
  });
});

describeWithEtcd("the command line with etcd", () => {
  const net = useEtcdLab("cli-etcd", { hosts: 1, config: null, prefix: "/docker-test/network" });
  const KEY = "10.2.54.0-24";

  function tulle(...args: string[]): SpawnSyncReturns<string> {
    const [program = "", ...rest] = net.host(1).enter(...TULLE, ...args);
    const [endpoints = "", , prefix = ""] = net.flags;
    return spawnSync(program, [...rest, endpoints, prefix], { encoding: "utf8", timeout: 30_000 });
  }

  it("writes what any etcd client reads", () => {
    expect(tulle("net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24").status).toBe(0);
    const text = '{"Network":"10.2.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
    expect(net.etcd.ctl("get", "--print-value-only", "/docker-test/network/config").trim()).toBe(text);
    expect(tulle("net", "show", "--json").stdout).toBe(`${text}\n`);
  });

  it("takes the end off a lease and puts it back, by the lease's own key", () => {
    const leaseOf = (): string =>
      /"lease":(\d+)/.exec(net.etcd.ctl("get", "-w", "json", `/docker-test/network/subnets/${KEY}`))?.[1] ??
      "none";
    net.put(
      `subnets/${KEY}`,
      '{"PublicIP":"192.168.50.99","BackendType":"vxlan","BackendData":{"VtepMAC":"02:00:00:00:00:09"}}',
    );
    expect(tulle("leases").stdout).toMatch(/^10\.2\.54\.0-24 .* reservation$/m);
    expect(tulle("lease", "release", KEY).stdout).toBe(`released: ${KEY}\n`);
    expect(leaseOf()).toMatch(/^\d{2,}$/);
    expect(tulle("lease", "reserve", "10.2.54.0/24").stdout).toBe(`reserved: ${KEY}\n`);
    expect(leaseOf()).toBe("none");
    expect(tulle("lease", "revoke", KEY, "--yes").status).toBe(0);
    expect(net.leases().size).toBe(0);
  });
});

/** Devices, addresses, routes, nexthops and what is ours in the firewall, as the usual tools show them. */
function stateOf({ netns }: Host): string {
  const commands = [
    "ip -o link",
    "ip -o address | sed 's/ tentative//'",
    "ip route",
    "ip nexthop",
    "iptables-save | grep -i -e flannel -e tulle || true",
    // Counters go on: hosts probe each other.
    "nft list ruleset | grep -i -e flannel -e tulle | sed 's/ packets [0-9]* bytes [0-9]*//' || true",
  ];
  return commands.map((command) => netns.exec("sh", ["-c", command])).join("\n");
}
