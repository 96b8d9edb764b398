/**
 * The same configuration given to tulle-cni and to the reference plugins (bridge and host-local, and flannel before
 * them): results and what the kernel and the disk then hold, compared field by field.
 */

import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type AnyJson, CniHost, NETWORK_NAME, SUBNET_ENV } from "../../support/cni-host.ts";
import {
  bridgePlugin,
  detailsOf,
  flannelPlugin,
  observe,
  ours,
  withoutMtu,
} from "../../support/cni-observation.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { itWithPlugins, referencePlugins, type Suite } from "../../support/reference-plugins.ts";

const FAMILIES: [string, string[]][] = [
  ["IPv4", [...SUBNET_ENV.v4, ...SUBNET_ENV.rest]],
  ["IPv6", [...SUBNET_ENV.v6, ...SUBNET_ENV.rest]],
  ["both", [...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]],
];
const VERSIONS: [string, Suite][] = [
  ["0.1.0", "bookworm"],
  ["0.2.0", "bookworm"],
  ["0.3.0", "bookworm"],
  ["0.3.1", "bookworm"],
  ["0.4.0", "bookworm"],
  ["1.0.0", "bookworm"],
  ["1.1.0", "sid"],
];
const DELEGATES: [string, AnyJson][] = [
  ["nothing", {}],
  ["flannel's shipped options", { hairpinMode: true, isDefaultGateway: true }],
  ["promiscMode and an MTU", { promiscMode: true, mtu: 1300, bridge: "br5" }],
  ["names in another case", { hairpinmode: true, IsDefaultGateway: true, BRIDGE: "br5" }],
];

/** Differences that stay, with ours last; docs/cni.md gives the reasons. */
const STAYING = [
  ["bridge addr_info.1.nodad", undefined, true],
  ["eth0 addr_info.1.nodad", undefined, true],
  ["eth0 net.ipv6.conf.accept_dad", "0", "1"],
  ["eth0 net.ipv6.conf.accept_ra", "1", "0"],
  ["eth0 net.ipv6.conf.ndisc_notify", "0", "1"],
  ["port txqlen", undefined, 1000],
];

describeAsRoot("tulle-cni and the reference plugins agree", () => {
  for (const [version, suite] of VERSIONS) {
    for (const [families, env] of FAMILIES) {
      itWithPlugins(suite)(`on ${families} in version ${version}`, () => {
        const config = { cniVersion: version, delegate: { hairpinMode: true, isDefaultGateway: true } };
        const expected = withoutMtu(observe(bridgePlugin(suite), env, config));
        expect(withoutMtu(observe(ours, env, config))).toEqual(expected);
      });
    }
  }

  for (const [name, delegate] of DELEGATES) {
    itWithPlugins("bookworm")(`with ${name}`, () => {
      const config = { cniVersion: "1.0.0", delegate };
      const [, env] = FAMILIES[2] ?? ["", []];
      expect(observe(ours, env, config)).toEqual(observe(bridgePlugin("bookworm"), env, config));
    });
  }

  itWithPlugins("sid")("in all that ip, bridge and sysctl show, but for what docs/cni.md lists", () => {
    const config = { cniVersion: "1.0.0", delegate: { hairpinMode: true, isDefaultGateway: true } };
    const [, env] = FAMILIES[2] ?? ["", []];
    const theirs = detailsOf(bridgePlugin("sid"), env, config);
    const own = detailsOf(ours, env, config);
    const names = [...new Set([...theirs.keys(), ...own.keys()])].sort();
    const differences = names.filter((name) => theirs.get(name) !== own.get(name));
    expect(differences.map((name) => [name, theirs.get(name), own.get(name)])).toEqual(STAYING);
  });

  itWithPlugins("bullseye")("with flannel itself in front", () => {
    const config = { cniVersion: "0.4.0", delegate: { hairpinMode: true, isDefaultGateway: true } };
    const [, env] = FAMILIES[0] ?? ["", []];
    expect(observe(ours, env, config)).toEqual(observe(flannelPlugin, env, config));
  });

  itWithPlugins("bookworm")(
    "on each other's attachments: either removes what the other made, and ours finds nothing to complain about",
    () => {
      const config = { cniVersion: "1.0.0", delegate: { isDefaultGateway: true } };
      for (const [make, remove] of [
        [ours, bridgePlugin("bookworm")],
        [bridgePlugin("bookworm"), ours],
      ] as const) {
        const host = new CniHost("oracle");
        try {
          const container = host.addContainer();
          const prevResult = make(host, "ADD", container, config).json;
          // The reference's own CHECK (1.1.1) takes every route without a gateway for missing.
          expect(ours(host, "CHECK", container, { ...config, prevResult })).toMatchObject({
            exitCode: 0,
            stdout: "",
          });
          expect(remove(host, "DEL", container, { ...config, prevResult })).toMatchObject({ exitCode: 0 });
          expect(host.reservations()).toEqual([]);
          expect([...host.links().keys()].filter((name) => name.startsWith("veth"))).toEqual([]);
        } finally {
          host.dispose();
        }
      }
    },
  );

  itWithPlugins("bullseye")("when a host changes over from flannel with containers running, and back", () => {
    const config = { cniVersion: "0.4.0", delegate: { hairpinMode: true, isDefaultGateway: true } };
    for (const [make, remove] of [
      [flannelPlugin, ours],
      [ours, flannelPlugin],
    ] as const) {
      const host = new CniHost("oracle");
      try {
        const [staying, leaving] = [host.addContainer(), host.addContainer()];
        const prevResult = make(host, "ADD", staying, config).json;
        make(host, "ADD", leaving, config);
        expect(remove(host, "CHECK", staying, { ...config, prevResult }).exitCode).toBe(0);
        expect(remove(host, "DEL", leaving, config)).toMatchObject({ exitCode: 0, stdout: "" });
        const next = host.addContainer();
        expect(remove(host, "ADD", next, config).json.ips[0].address).toBe("10.5.72.4/24");
        expect(next.netns.exec("ping", ["-c1", "-W2", "10.5.72.2"])).toContain(" 0% packet loss");
        for (const container of [staying, next])
          expect(remove(host, "DEL", container, config).exitCode).toBe(0);
        expect(host.reservations()).toEqual([]);
        expect([...host.links().keys()].filter((name) => name.startsWith("veth"))).toEqual([]);
        expect(host.stateFiles().filter((name) => !name.includes(":"))).toEqual([]);
      } finally {
        host.dispose();
      }
    }
  });

  itWithPlugins("bullseye")("on rules of ipMasq that flannel's bridge made before the change-over", () => {
    // The bridge of that suite does not know ipMasqBackend and makes rules of iptables.
    const delegate = { hairpinMode: true, isDefaultGateway: true, ipMasqBackend: "nftables" };
    const config = { cniVersion: "0.4.0", delegate };
    const host = new CniHost("oracle");
    try {
      host.writeSubnetEnv([...SUBNET_ENV.v4, "FLANNEL_MTU=1450", "FLANNEL_IPMASQ=false"]);
      const rules = () => host.netns.exec("iptables", ["-t", "nat", "-S"]);
      const before = rules();
      const container = host.addContainer();
      expect(flannelPlugin(host, "ADD", container, config).exitCode).toBe(0);
      expect(rules()).toContain("MASQUERADE");
      const environment = { CNI_PATH: referencePlugins("bookworm") ?? "" };
      for (const _ of [1, 2])
        expect(host.call("DEL", { container, config, environment })).toMatchObject({
          exitCode: 0,
          stdout: "",
        });
      expect(rules()).toBe(before);
      expect(host.leftovers()).toEqual([]);
    } finally {
      host.dispose();
    }
  });

  itWithPlugins("bookworm")(
    "in a chain: tuning, bandwidth, firewall and portmap take our result and give it back",
    () => {
      const folder = referencePlugins("bookworm") ?? "";
      const host = new CniHost("oracle");
      const chain: AnyJson[] = [
        { type: "tuning", mtu: 1400, sysctl: { "net.ipv4.conf.eth0.log_martians": "1" } },
        {
          type: "bandwidth",
          ingressRate: 8_000_000,
          ingressBurst: 8_000_000,
          egressRate: 8_000_000,
          egressBurst: 8_000_000,
        },
        { type: "firewall", backend: "iptables" },
        {
          type: "portmap",
          runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
        },
      ];
      try {
        const container = host.addContainer();
        const prevResult = host.call("ADD", { container }).json;
        const callNext = (verb: string, plugin: AnyJson) =>
          host.call(verb, {
            container,
            stdin: JSON.stringify({ cniVersion: "1.0.0", name: NETWORK_NAME, prevResult, ...plugin }),
            program: join(folder, plugin.type),
            environment: { CNI_PATH: folder },
          });
        for (const plugin of chain) {
          const { exitCode, json } = callNext("ADD", plugin);
          expect([plugin.type, exitCode, json.ips]).toEqual([plugin.type, 0, prevResult.ips]);
        }
        expect(container.netns.exec("ping", ["-c1", "-W2", "10.5.72.1"])).toContain(" 0% packet loss");
        // The MTU is another one by then, but because tuning was asked for it.
        expect(host.call("CHECK", { container, config: { prevResult } })).toMatchObject({
          exitCode: 0,
          stdout: "",
        });
        for (const plugin of chain.reverse()) expect(callNext("DEL", plugin).exitCode).toBe(0);
        expect(host.call("DEL", { container, config: { prevResult } })).toMatchObject({
          exitCode: 0,
          stdout: "",
        });
        expect(host.leftovers()).toEqual([]);
      } finally {
        host.dispose();
      }
    },
  );

  itWithPlugins("bookworm")("on other delegates: ptp with host-local, and macvlan", () => {
    const folder = referencePlugins("bookworm") ?? "";
    const host = new CniHost("oracle");
    host.writeSubnetEnv([...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]);
    try {
      host.netns.ip("link add name up0 up type veth peer name up1", "link set up1 up");
      for (const delegate of [{ type: "ptp" }, { type: "macvlan", master: "up0" }]) {
        const container = host.addContainer();
        const call = { container, config: { delegate }, environment: { CNI_PATH: folder } };
        const added = host.call("ADD", call);
        expect(added.exitCode, added.stdout).toBe(0);
        expect(added.json.ips[0].address).toMatch(/^10\.5\.72\.\d+\/(24|32)$/);
        expect(host.states()).toHaveLength(1);
        const again = { ...call, config: { delegate, prevResult: added.json } };
        expect(host.call("CHECK", again)).toMatchObject({ exitCode: 0, stdout: "" });
        container.netns.exec("ip", ["route", "del", "10.5.0.0/16"]);
        expect(host.call("CHECK", again).json).toMatchObject({ msg: expect.stringContaining("10.5.0.0") });
        expect(host.call("DEL", call)).toMatchObject({ exitCode: 0, stdout: "" });
        expect([...host.reservations(), ...host.stateFiles()]).toEqual([]);
      }
      const reserved = join(host.dir, "ipam", NETWORK_NAME);
      writeFileSync(join(reserved, "10.5.72.99"), "died\r\neth0");
      utimesSync(join(reserved, "10.5.72.99"), 0, 0);
      writeFileSync(join(reserved, ".tulle-boot"), "another-boot");
      const call = { container: host.addContainer(), environment: { CNI_PATH: folder } };
      expect(host.call("ADD", { ...call, config: { delegate: { type: "ptp" } } }).exitCode).toBe(0);
      expect(host.reservations()).toEqual(["10.5.72.4", "fd00:5:0:72::4"]);
    } finally {
      host.dispose();
    }
  });
});
