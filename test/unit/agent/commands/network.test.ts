/** `tulle net`: the configuration of a network, and a change of its backend. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type BackendFlag, backendFlags, givenOptions } from "../../../../agent/terminal/backend-flags.ts";
import { textWithoutSecrets } from "../../../../agent/terminal/network-view.ts";
import { describedOptions } from "../../../../backends/registry.ts";
import {
  addLease,
  directory,
  initNetwork,
  leaseValue,
  NODE_ID,
  signal,
  store,
  tulle,
  useStoreFolder,
} from "../../../support/store-cli.ts";

useStoreFolder();

const PSK = Buffer.alloc(32, 7).toString("base64");

function attributeOf(flags: readonly BackendFlag[], wanted: string): string {
  return flags.find(({ key }) => key === wanted)?.option.attributeName() ?? "";
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
    const { out } = await tulle("doctor");
    expect(out).toContain('"PSK":"(secret)"');
    expect(out).not.toContain(PSK);
    const file = join(directory, "lower-case.json");
    await writeFile(file, `{"network":"10.2.0.0/16","backend":{"type":"wireguard","psk":"${PSK}"}}`);
    await tulle("net", "init", "--file", file, "--force");
    expect((await tulle(...init)).err).not.toContain(PSK);
  });

  it("shows no secret of a configuration that is not valid", () => {
    const text = `{"Network":"10.2.0.0/33","Backend":{"Type":"wireguard","PSK":"${PSK}"}}`;
    expect(textWithoutSecrets(text)).toMatch(/10\.2\.0\.0\/33.*wireguard/);
    expect(textWithoutSecrets(text)).not.toContain(PSK);
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
    [[], "Network is missing: give its range, such as --network=10.2.0.0/16"],
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
    await writeFile(file, '\ufeff{ "Network": "10.4.0.0/16" }\r\n');
    expect((await tulle("net", "validate", "--file", file)).code).toBe(0);
    expect((await tulle("net", "init", "--file", file)).out).toMatch(/^unchanged/);
    await writeFile(file, '{ "Network": 5 }\n');
    expect((await tulle("net", "validate", "--file", file)).code).toBe(1);
  });

  it("warns of keys that no agent reads, with the one that was probably meant", async () => {
    const file = join(directory, "net.json");
    await writeFile(
      file,
      '{"network":"10.4.0.0/16","SubnetLenn":25,"Colour":1,"Backend":{"type":"vxlan","DirectRoutin":true,"vni":7}}',
    );
    const warnings = [
      "tulle: warning: SubnetLenn is unknown, and ignored by all agents; did you mean SubnetLen?",
      "tulle: warning: Colour is unknown, and ignored by all agents",
      "tulle: warning: Backend.DirectRoutin is unknown, and ignored by all agents; did you mean Backend.DirectRouting?",
    ];
    for (const command of [["validate", "--file", file], ["init", "--file", file], ["show"], ["validate"]]) {
      const { code, err } = await tulle("net", ...command);
      expect(code).toBe(0);
      expect(err.trim().split("\n")).toEqual(warnings);
    }
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
