import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type BackendFlag, backendFlags, givenOptions } from "../../../../agent/terminal/backend-flags.ts";
import { describedOptions } from "../../../../backends/registry.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import type { NetworkStore } from "../../../../ipam/stores/contracts.ts";
import { openFileStore } from "../../../../ipam/stores/file/store.ts";
import { type CliAnswer, runCli, withoutStyles } from "../../../support/cli.ts";

const { signal } = new AbortController();
const PSK = Buffer.alloc(32, 7).toString("base64");

function attributeOf(flags: readonly BackendFlag[], wanted: string): string {
  return flags.find(({ key }) => key === wanted)?.option.attributeName() ?? "";
}
const NODE_ID = "0123456789abcdef0123456789abcdef";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tulle-network-"));
});
afterEach(() => rm(directory, { recursive: true }));

/** A command on this test's store. */
const tulle = (...args: string[]): Promise<CliAnswer> => runCli([...args, `--store=file:${directory}/store`]);

function store(): NetworkStore {
  const environment = { log: silentLogger, clock: systemClock, random: () => 0.5, dateMs: () => 0 };
  return openFileStore(`${directory}/store`, environment).network("/coreos.com/network");
}

function leaseValue(host: number, data: object = {}): string {
  return JSON.stringify({
    PublicIP: `192.168.1.${host}`,
    PublicIPv6: null,
    BackendType: "vxlan",
    BackendData: { VNI: 1, VtepMAC: `02:00:00:00:00:${host.toString(16).padStart(2, "0")}` },
    ...data,
  });
}

const addLease = (key: string, value: string, ttlSeconds = 3600) =>
  store().leases.create(key, value, ttlSeconds, signal);

/** What the host with the node id says of itself. */
const HOST = { name: "node7", version: "0.1.0", kernel: "6.1.0", backends: ["alloc", "vxlan"] };

async function initNetwork(): Promise<void> {
  const { code } = await tulle("net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24");
  expect(code).toBe(0);
}

describe("tulle net", () => {
  it("writes what flannel would read", async () => {
    const { out } = await tulle("net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24");
    expect(out).toContain("10.2.0.0/16 in subnets of /24 over vxlan");
    const { out: json } = await tulle("net", "show", "--json");
    expect(json).toBe('{"Network":"10.2.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}\n');
    expect((await tulle("net", "show")).out).toBe(
      "network  10.2.0.0/16\nsubnets  /24, 255 from 10.2.1.0 to 10.2.255.0\nbackend  vxlan\n",
    );
  });

  it("writes every option under flannel's name", async () => {
    const flags =
      "--network 10.2.0.0/16 --subnet-len 25 --subnet-min 10.2.8.0 --subnet-max 10.2.9.128 --ipv6-network fd00::/48 " +
      "--ipv6-subnet-len 64 --ipv6-subnet-min fd00:0:0:8:: --ipv6-subnet-max fd00:0:0:9:: --nftables " +
      "--vni 7 --port 4789 --mtu 1400 --direct-routing --gbp --learning";
    expect((await tulle("net", "init", ...flags.split(" "))).code).toBe(0);
    expect(JSON.parse((await tulle("net", "show", "--json")).out)).toEqual({
      EnableIPv6: true,
      EnableNFTables: true,
      Network: "10.2.0.0/16",
      SubnetLen: 25,
      SubnetMin: "10.2.8.0",
      SubnetMax: "10.2.9.128",
      IPv6Network: "fd00::/48",
      IPv6SubnetLen: 64,
      IPv6SubnetMin: "fd00:0:0:8::",
      IPv6SubnetMax: "fd00:0:0:9::",
      Backend: {
        Type: "vxlan",
        VNI: 7,
        Port: 4789,
        MTU: 1400,
        DirectRouting: true,
        GBP: true,
        Learning: true,
      },
    });
  });

  it.each([
    ["host-gw", [], {}],
    ["alloc", [], {}],
    ["ipip", ["--direct-routing"], { DirectRouting: true }],
    [
      "WireGuard",
      [
        ...["--mode", "auto", "--listen-port", "51900", "--listen-port-v6", "51901", "--mtu", "1400"],
        ...["--persistent-keepalive-interval", "25", "--psk", PSK],
      ],
      {
        Mode: "auto",
        ListenPort: 51900,
        ListenPortV6: 51901,
        MTU: 1400,
        PersistentKeepaliveInterval: 25,
        PSK,
      },
    ],
    [
      "extension",
      [
        ...[
          "--pre-startup-command",
          "cat /sys/class/net/x/address",
          "--post-startup-command",
          "ip link set x up",
        ],
        ...[
          "--subnet-add-command",
          "read MAC && ip route replace $SUBNET dev x",
          "--subnet-remove-command",
          ":",
        ],
      ],
      {
        PreStartupCommand: "cat /sys/class/net/x/address",
        PostStartupCommand: "ip link set x up",
        SubnetAddCommand: "read MAC && ip route replace $SUBNET dev x",
        SubnetRemoveCommand: ":",
      },
    ],
  ])("writes all options of %s", async (type, flags, options) => {
    const { code, err } = await tulle("net", "init", "--network", "10.2.0.0/16", "--backend", type, ...flags);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const { Backend } = JSON.parse((await tulle("net", "show", "--json")).out);
    expect(Backend).toEqual({ Type: type, ...options });
  });

  it("has a flag for every option of every backend, and parses what they describe", () => {
    const flags = backendFlags();
    for (const [type, options] of describedOptions()) {
      const written = givenOptions(
        flags,
        type,
        new Map(options.map(({ key, kind }) => [attributeOf(flags, key), kind === "switch" ? true : "1"])),
      );
      expect(Object.keys(written).sort()).toEqual(options.map(({ key }) => key).sort());
    }
  });

  it("does not repeat a pre-shared key", async () => {
    const init = ["net", "init", "--network", "10.2.0.0/16", "--backend", "wireguard"];
    await tulle(...init, "--psk", PSK);
    expect((await tulle("net", "show")).out).toContain('PSK "(secret)"');
    const { err } = await tulle(...init);
    expect(err).toContain('"PSK":"(secret)"');
    expect(err).not.toContain(PSK);
  });

  it("leaves an equal configuration, and another one unless forced", async () => {
    await initNetwork();
    expect((await tulle("net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24")).out).toMatch(
      /^unchanged/,
    );
    const other = ["net", "init", "--network", "10.9.0.0/16"];
    const refused = await tulle(...other);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(
      /already has another configuration.*10\.2\.0\.0.*--force.*\[TULLE_CONFLICT\]/,
    );
    expect((await tulle(...other, "--force")).code).toBe(0);
    expect((await tulle("net", "show")).out).toContain("10.9.0.0/16");
  });

  it.each([
    [["--network", "10.2.0.0/33"], "Network is"],
    [["--network", "10.2.0.0/16", "--subnet-len", "many"], '--subnet-len "many" is not a whole number'],
    [["--network", "10.2.0.0/16", "--vni", "99999999"], "VNI"],
    [["--network", "10.2.0.0/16", "--backend", "wireguard", "--mode", "ipv6"], "does not enable IPv6"],
    [["--network", "10.2.0.0/16", "--ipv6-network", "fd00::/48", "--mtu", "1300"], "at least 1350"],
    [["--network", "10.2.0.0/16", "--backend", "pigeon"], 'Backend.Type "pigeon" is unknown'],
    [
      ["--network", "10.2.0.0/16", "--backend", "host-gw", "--vni", "7"],
      "--vni is an option of vxlan, not of host-gw",
    ],
    [["--network", "10.2.0.0/16", "--backend", "wireguard", "--psk", "short"], "Backend.PSK is not valid"],
    [["--network", "10.2.0.0/16", "--backend", "wireguard", "--mode", "fast"], 'Backend.Mode is "fast"'],
    [["--file", "/nowhere", "--ipv6-subnet-len", "64"], "--file /nowhere and --ipv6-subnet-len exclude"],
    [["--file", "/nowhere"], "--file /nowhere cannot be read"],
    [[], "Network is missing"],
  ])("writes nothing for %j", async (args, message) => {
    const { code, err } = await tulle("net", "init", ...args);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(await store().config.read(signal)).toBeNull();
  });

  it("takes and checks a file", async () => {
    const file = join(directory, "net.json");
    await writeFile(file, '{ "Network": "10.4.0.0/16" }\n');
    expect((await tulle("net", "validate", "--file", file)).out).toBe(
      "valid: 10.4.0.0/16 in subnets of /24 over vxlan\n",
    );
    expect((await tulle("net", "init", "--file", file)).code).toBe(0);
    expect((await tulle("net", "show", "--json")).out).toBe('{ "Network": "10.4.0.0/16" }\n');
    await writeFile(file, '{ "Network": 5 }\n');
    expect((await tulle("net", "validate", "--file", file)).code).toBe(1);
  });

  it.each([
    ["ipsec", ["--network", "10.2.0.0/16", "--backend", "ipsec"]],
    ["tencent-vpc", ["--network", "10.2.0.0/16", "--backend", "tencent-vpc"]],
  ])("warns that this version of tulled does not run %s, which other agents may", async (what, args) => {
    const { code, err } = await tulle("net", "init", ...args);
    expect(code).toBe(0);
    expect(err).toMatch(/^tulle: warning: tulled of this version cannot join: /);
    expect(err).toContain(what);
    const validation = await tulle("net", "validate");
    expect(validation.code).toBe(1);
    expect(validation.err).toContain(what);
    expect(validation.err).toContain("[TULLE_UNSUPPORTED]");
  });

  it("shows a configuration that only other agents run", async () => {
    await store().config.write(
      '{"Network":"10.2.0.0/16","Backend":{"Type":"tencent-vpc","Port":8285}}',
      null,
      signal,
    );
    const { code, out, err } = await tulle("net", "show");
    expect({ code, out }).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^backend +tencent-vpc, Port 8285$/m),
    });
    expect(err).toContain('"tencent-vpc" is not in this version');
    expect((await tulle("net", "validate")).code).toBe(1);
  });

  it("says how to begin where there is none", async () => {
    for (const command of ["show", "validate"]) {
      const { code, err } = await tulle("net", command);
      expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining("tulle net init") });
    }
  });
});

describe("tulle net migrate", () => {
  const hostGw = (host: number) => leaseValue(host, { BackendType: "host-gw", BackendData: undefined });
  const migrate = async () => {
    const { code, out } = await tulle("net", "migrate");
    return { code, lines: out.split("\n").map((line) => line.split(/ {2,}/)) };
  };

  it("lists the hosts of another backend, and exits with 1 until there is none", async () => {
    await initNetwork();
    const first = await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }));
    const second = await addLease("10.2.16.0-24", leaseValue(243));
    await addLease("10.2.17.0-24", hostGw(244));
    const init = ["net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24"];
    await tulle(...init, "--backend", "host-gw", "--force");
    expect(await migrate()).toEqual({
      code: 1,
      lines: [
        ["LEASE", "HOST", "ADDRESS", "BACKEND", "NODE", "REACHED BY"],
        ["10.2.9.0-24", "-", "192.168.1.242", "vxlan", "01234567", "all but 1 of host-gw"],
        ["10.2.16.0-24", "-", "192.168.1.243", "vxlan", "-", "all but 1 of host-gw"],
        [""],
        [
          expect.stringMatching(
            /^2 of 3 hosts do not use host-gw yet: restart the daemon of each; until then some exchange no packets/,
          ),
        ],
        [""],
      ],
    });
    const { code, out } = await tulle("net", "migrate", "--json");
    expect({ code, answer: JSON.parse(out) }).toMatchObject({
      code: 1,
      answer: {
        backend: "host-gw",
        followed: 1,
        behind: [
          { key: "10.2.9.0-24", cutOff: ["10.2.17.0-24"] },
          { key: "10.2.16.0-24", cutOff: ["10.2.17.0-24"] },
        ],
      },
    });
    for (const entry of [first, second]) await store().leases.remove(entry, signal);
    expect(await migrate()).toEqual({ code: 0, lines: [["all 1 hosts use host-gw"], [""]] });
  });

  it("tells that hosts which have followed are still reached by the former backend", async () => {
    await initNetwork();
    await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }));
    const OtherBackends = [{ BackendType: "vxlan", BackendData: { VNI: 1, VtepMAC: "02:00:00:00:00:f4" } }];
    await addLease("10.2.17.0-24", leaseValue(244, { BackendType: "host-gw", OtherBackends }));
    const init = ["net", "init", "--network", "10.2.0.0/16", "--subnet-len", "24"];
    await tulle(...init, "--backend", "host-gw", "--force");
    const { lines } = await migrate();
    expect(lines[1]?.at(-1)).toBe("all hosts");
    expect(lines[3]).toEqual([
      "1 of 2 hosts do not use host-gw yet: restart the daemon of each; until then the others reach it by its former backend",
    ]);
  });

  it("does not count a reservation whose host has not joined", async () => {
    await initNetwork();
    await tulle("lease", "reserve", "10.2.20.0/24", "--public-ip", "192.168.1.250");
    expect(await migrate()).toEqual({ code: 0, lines: [["all 0 hosts use vxlan"], [""]] });
  });

  it("needs a configuration", async () => {
    const { code, err } = await tulle("net", "migrate");
    expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining("tulle net init") });
  });
});

describe("tulle leases and tulle lease check", () => {
  beforeEach(initNetwork);

  it("shows leases in the order of their subnets, and finds nothing wrong with them", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }), Number.POSITIVE_INFINITY);
    await store().records.write(`hosts/${NODE_ID}`, JSON.stringify(HOST), null, signal);
    const { out } = await tulle("leases");
    expect(out.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["LEASE", "HOST", "ADDRESS", "BACKEND", "IDENTITY", "NODE", "KIND"],
      ["10.2.9.0-24", "node7", "192.168.1.242", "vxlan", "02:00:00:00:00:f2", "01234567", "reservation"],
      ["10.2.16.0-24", "-", "192.168.1.243", "vxlan", "02:00:00:00:00:f3", "-", "lease"],
      [""],
    ]);
    expect(await tulle("lease", "check")).toEqual({ code: 0, out: "2 leases, all in order\n", err: "" });
    const shown = (await tulle("lease", "show", "10.2.9.0-24")).out;
    expect(shown).toMatch(/^host +node7, tulle 0\.1\.0, kernel 6\.1\.0$/m);
    expect(JSON.parse((await tulle("lease", "show", "10.2.9.0-24", "--json")).out).host).toEqual(HOST);
  });

  it("shows one line about records of hosts that cannot be read", async () => {
    await addLease("10.2.9.0-24", leaseValue(242, { NodeID: NODE_ID }));
    await store().records.write(`hosts/${NODE_ID}`, '{"name":"<b>"}', null, signal);
    const { code, out } = await tulle("leases");
    expect({ code, problem: out.split("\n").find((line) => line.startsWith("! ")) }).toEqual({
      code: 0,
      problem: `! host record hosts/${NODE_ID} is ignored: name is "<b>"; delete it, its host writes it again`,
    });
  });

  it("colours the table on a terminal only, and not against NO_COLOR", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const args = ["leases", `--store=file:${directory}/store`];
    const plain = (await runCli(args)).out;
    const coloured = (await runCli(args, { isTty: true })).out;
    expect(coloured.startsWith("\x1b[1mLEASE ")).toBe(true);
    expect(withoutStyles(coloured)).toBe(plain);
    expect((await runCli(args, { isTty: true, environment: { NO_COLOR: "1" } })).out).toBe(plain);
  });

  it("answers programs in JSON", async () => {
    const { storeLeaseId, revision } = await addLease("10.2.16.0-24", leaseValue(243));
    expect(JSON.parse((await tulle("leases", "--json")).out)).toEqual([
      {
        key: "10.2.16.0-24",
        host: null,
        subnets: ["10.2.16.0/24"],
        publicAddresses: ["192.168.1.243"],
        backendType: "vxlan",
        backendData: [{ VNI: 1, VtepMAC: "02:00:00:00:00:f3" }],
        identities: ["02:00:00:00:00:f3"],
        nodeId: null,
        isReservation: false,
        isAwaited: false,
        storeLeaseId,
        revision: `${revision}`,
        createRevision: `${revision}`,
        problem: null,
      },
    ]);
  });

  it.each<[string, string, string, RegExp]>([
    ["a stray key", "not-a-subnet", leaseValue(9), /"not-a-subnet" is not a subnet/],
    ["a value that is not JSON", "10.2.9.0-24", "{", /10\.2\.9\.0-24.*not JSON/],
    ["a subnet outside the network", "10.3.9.0-24", leaseValue(9), /outside the network/],
    ["an overlap", "10.2.16.128-25", leaseValue(9), /overlaps lease 10\.2\.16\.0-24/],
    [
      "a public address that is taken",
      "10.2.9.0-24",
      leaseValue(243, { BackendData: { VtepMAC: "02:00:00:00:00:01" } }),
      /192\.168\.1\.243 is also that of lease 10\.2\.16\.0-24/,
    ],
    [
      "a hardware address that is taken",
      "10.2.9.0-24",
      leaseValue(9, { BackendData: { VtepMAC: "02:00:00:00:00:f3" } }),
      /02:00:00:00:00:f3 is also that of lease/,
    ],
    ["another backend", "10.2.9.0-24", leaseValue(9, { BackendType: "host-gw" }), /backend is "host-gw"/],
  ])("finds %s", async (_name, key, value, reason) => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease(key, value);
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(1);
    expect(out).toMatch(reason);
    expect(out).toMatch(/^2 leases, 1 wrong$/m);
    expect((await tulle("leases")).out).toMatch(/^! /m);
  });

  it("names the subnets of absent hosts without a warning", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    for (const [key, host] of [
      ["10.2.16.0-24", 243],
      ["10.2.9.0-24", 9],
      ["10.77.1.0-24", 10],
    ] as const) {
      await store().records.write(`affinity/${key}`, leaseValue(host, { NodeID: NODE_ID }), null, signal);
    }
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(0);
    expect(out.split("\n")).toEqual([
      expect.stringMatching(`^affinity 10.2.9.0-24: node ${NODE_ID} at 192.168.1.9 has no lease any more`),
      expect.stringMatching(/^affinity 10\.77\.1\.0-24: .* no such subnet/),
      "1 lease, all in order",
      "",
    ]);
  });

  it("ignores the key of a folder", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    await addLease("", "");
    await addLease("folder/", "");
    expect(await tulle("lease", "check")).toMatchObject({ code: 0, out: "1 lease, all in order\n" });
    expect(JSON.parse((await tulle("leases", "--json")).out)).toHaveLength(1);
  });

  it("finds on a member what its host alone can see", async () => {
    await writeFile(join(directory, "identity.json"), JSON.stringify({ nodeId: NODE_ID }));
    await addLease("10.2.16.0-24", leaseValue(243, { NodeID: NODE_ID }));
    await addLease("10.2.17.0-24", leaseValue(9, { PublicIP: "10.2.16.1" }));
    await addLease("10.2.18.0-24", leaseValue(8, { BackendData: { VtepMAC: "02:00:00:00:00:f3" } }));
    const { code, out } = await tulle("lease", "check", `--state-dir=${directory}`);
    expect(code).toBe(1);
    expect(out).toMatch(/10\.2\.17\.0-24: its public address 10\.2\.16\.1 lies in/);
    expect(out).toMatch(/10\.2\.18\.0-24: its hardware address 02:00:00:00:00:f3 is/);
    expect(out).toMatch(/^3 leases, 2 wrong$/m);
  });

  it("revokes a lease whose value is damaged", async () => {
    await addLease("10.2.16.0-24", "{");
    expect((await tulle("lease", "revoke", "10.2.16.0-24", "--yes")).code).toBe(0);
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it("finds a configuration that no daemon could use", async () => {
    const before = await store().config.read(signal);
    await store().config.write("{}", before, signal);
    await addLease("10.2.16.0-24", leaseValue(243));
    const { code, out } = await tulle("lease", "check");
    expect(code).toBe(1);
    expect(out).toContain("Network is missing");
  });
});

describe("tulle lease reserve, release, revoke and show", () => {
  beforeEach(initNetwork);

  it("reserves a subnet for a host that is yet to come, and gives it up again", async () => {
    const { out } = await tulle("lease", "reserve", "10.2.54.0/24", "--public-ip", "192.168.1.242");
    expect(out).toBe("reserved: 10.2.54.0-24\n");
    const [entry] = (await store().feed.list(signal)).entries;
    expect(entry).toMatchObject({ key: "10.2.54.0-24", storeLeaseId: null });
    expect(JSON.parse(entry?.value ?? "")).toEqual({
      PublicIP: "192.168.1.242",
      PublicIPv6: null,
      BackendType: "vxlan",
    });
    expect((await tulle("lease", "check")).out).toBe("1 lease, all in order\n");
    expect((await tulle("leases")).out).toContain("reserved, host not joined");
    expect((await tulle("lease", "release", "10.2.54.0/24")).out).toBe("deleted: 10.2.54.0-24\n");
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it("makes a lease in use a reservation and back, its value untouched", async () => {
    const { value } = await addLease("10.2.54.0-24", leaseValue(242));
    expect((await tulle("lease", "reserve", "10.2.54.0/24")).out).toBe("reserved: 10.2.54.0-24\n");
    expect((await store().feed.list(signal)).entries).toMatchObject([{ value, storeLeaseId: null }]);
    expect((await tulle("lease", "reserve", "10.2.54.0/24")).out).toBe("unchanged: 10.2.54.0-24\n");
    expect((await tulle("lease", "release", "192.168.1.242")).out).toBe("released: 10.2.54.0-24\n");
    const [entry] = (await store().feed.list(signal)).entries;
    expect(entry).toMatchObject({ value, storeLeaseId: expect.any(String) });
    expect((await tulle("lease", "release", "192.168.1.242")).out).toMatch(/^unchanged/);
  });

  it.each([
    [["10.2.54.0/25"], "none of the network's subnets"],
    [["10.2.0.0/24"], "none of the network's subnets"],
    [["fd00::/64"], "the network has no IPv6"],
    [["10.2.1.0/24", "10.2.2.0/24"], "one subnet for each family"],
    [["10.2.1.0/24"], "name the host"],
    [["10.2.1.0/24", "--public-ip", "fd00::1"], "not an IPv4 address"],
    [["10.2.1.0/24", "--public-ip", "192.168.1.243"], "has lease 10.2.16.0-24 already"],
    [["10.2.16.0/24", "--public-ip", "192.168.1.99"], "belongs to 192.168.1.243"],
  ])("does not reserve %j", async (args, message) => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const { code, err } = await tulle("lease", "reserve", ...args);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect((await store().feed.list(signal)).entries).toHaveLength(1);
  });

  it("revokes only when told so twice", async () => {
    await addLease("10.2.16.0-24", leaseValue(243));
    const refused = await tulle("lease", "revoke", "10.2.16.0-24");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("would cut 192.168.1.243 off");
    expect((await tulle("lease", "revoke", "10.2.16.0-24", "--yes")).out).toContain("revoked: 10.2.16.0-24");
    expect((await store().feed.list(signal)).entries).toEqual([]);
  });

  it.each(["10.2.16.0-24", "10.2.16.0/24", "192.168.1.243", "10.2.16.77", NODE_ID, NODE_ID.slice(0, 8)])(
    "finds a lease by %s",
    async (text) => {
      await addLease("10.2.9.0-24", leaseValue(242));
      await addLease("10.2.16.0-24", leaseValue(243, { NodeID: NODE_ID }));
      const { out } = await tulle("lease", "show", text, "--json");
      expect(JSON.parse(out)).toMatchObject({ key: "10.2.16.0-24" });
      expect((await tulle("lease", "show", text)).out).toMatch(/^in use +yes$/m);
    },
  );

  it("does not guess", async () => {
    await addLease("10.2.9.0-24", leaseValue(243));
    await addLease("10.2.16.0-24", leaseValue(243));
    expect((await tulle("lease", "show", "10.2.77.1")).err).toContain("names no lease");
    expect((await tulle("lease", "show", "192.168.1.243")).err).toContain("10.2.9.0-24, 10.2.16.0-24");
  });
});
