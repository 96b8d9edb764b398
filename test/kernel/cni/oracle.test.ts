/**
 * The same configuration given to tulle-cni and to the reference plugins (bridge and host-local, and flannel before
 * them): results and what the kernel and the disk then hold, compared field by field.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { deriveDelegate } from "../../../cni-plugin/config/delegate.ts";
import { parseSubnetEnv } from "../../../ipam/config/subnet-env.ts";
import {
  type AnyJson,
  type CniContainer,
  CniHost,
  NETWORK_NAME,
  SUBNET_ENV,
} from "../../support/cni-host.ts";
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
];

type Run = (host: CniHost, verb: string, container: CniContainer, config: AnyJson) => AnyJson;

const ours: Run = (host, verb, container, config) => host.call(verb, { container, config });

/** bridge and host-local get what flannel would derive for them. */
function bridgePlugin(suite: Suite): Run {
  const folder = referencePlugins(suite) ?? "";
  return (host, verb, container, config) => {
    const env = parseSubnetEnv(readFileSync(host.subnetFile, "utf8"));
    const { prevResult, ...rest } = config;
    const delegate = deriveDelegate({ ...host.config, ...rest }, env);
    const stdin = JSON.stringify(prevResult === undefined ? delegate : { ...delegate, prevResult });
    return host.call(verb, {
      container,
      stdin,
      program: join(folder, "bridge"),
      environment: { CNI_PATH: folder },
    });
  };
}

/** The original: flannel of one suite, bridge and host-local of another. */
const flannelPlugin: Run = (host, verb, container, config) =>
  host.call(verb, {
    container,
    config,
    program: join(referencePlugins("bullseye") ?? "", "flannel"),
    environment: { CNI_PATH: referencePlugins("bookworm") ?? "" },
  });

/** Runs ADD twice and DEL once on a host of its own and tells all that can be seen, without what is random. */
function observe(run: Run, env: readonly string[], config: AnyJson): AnyJson {
  const host = new CniHost("oracle");
  try {
    host.writeSubnetEnv(env);
    const [one, two] = [host.addContainer(), host.addContainer()];
    const first = run(host, "ADD", one, config);
    const second = run(host, "ADD", two, config);
    const { hosts, containers, disk } = stateOf(host, [one, two]);
    const removed = run(host, "DEL", one, config);
    const after = stateOf(host, [one, two]);
    const seen = {
      first: first.json,
      second: second.json,
      hosts,
      containers,
      disk,
      removed: removed.stdout,
      after,
    };
    return JSON.parse(anonymize(JSON.stringify(seen), host, [one, two]));
  } finally {
    host.dispose();
  }
}

function stateOf(host: CniHost, containers: readonly CniContainer[]): AnyJson {
  settle(host, containers);
  return {
    hosts: interfacesOf((args) => host.netns.ipJson(args)),
    containers: containers.map(({ netns }) => ({
      links: interfacesOf((args) => netns.ipJson(args)),
      routes: [...netns.ipJson(["route"]), ...netns.ipJson(["-6", "route"])]
        .filter(isOfAddresses)
        .sort(byText),
    })),
    disk: reservationsOf(host),
  };
}

/** The kernel tells a device's operational state a moment after it changed; a bridge's follows its ports'. */
function settle(host: CniHost, containers: readonly CniContainer[]): void {
  for (let attempt = 0; attempt < 100; attempt++) {
    const links = [host, ...containers].flatMap(({ netns }) => netns.ipJson(["link"]) as AnyJson[]);
    if (links.every(({ ifname, operstate }) => ifname === "lo" || operstate === "UP")) return;
    execFileSync("sleep", ["0.02"]);
  }
}

function interfacesOf(ipJson: (args: readonly string[]) => readonly AnyJson[]): AnyJson {
  return ipJson(["-d", "address"])
    .filter(({ ifname }) => ifname !== "lo")
    .map(({ ifname, mtu, flags, operstate, master, linkinfo, addr_info }) => ({
      ifname,
      mtu,
      flags: flags.filter((flag: string) => flag !== "NO-CARRIER").sort(),
      operstate,
      master,
      kind: linkinfo?.info_kind,
      hairpin: linkinfo?.info_slave_data?.hairpin,
      isolated: linkinfo?.info_slave_data?.isolated,
      addresses: addr_info
        .filter(({ scope }: AnyJson) => scope !== "link")
        .map(({ local, prefixlen, broadcast }: AnyJson) => `${local}/${prefixlen} ${broadcast}`)
        .sort(),
    }))
    .sort(byText);
}

const isOfAddresses = ({ dst }: AnyJson) => !String(dst).startsWith("fe80");

function byText(left: AnyJson, right: AnyJson): number {
  return JSON.stringify(left) < JSON.stringify(right) ? -1 : 1;
}

function reservationsOf(host: CniHost): AnyJson {
  const folder = join(host.dir, "ipam", NETWORK_NAME);
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder).filter((name) => name !== "lock" && name !== ".tulle-boot");
  return Object.fromEntries(names.sort().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

/** Random hardware addresses, names of host ends, and the names of this run. */
function anonymize(text: string, host: CniHost, containers: readonly CniContainer[]): string {
  const named = containers.reduce((rest, { id }, index) => rest.replaceAll(id, `container${index}`), text);
  return named
    .replaceAll(host.dir, "DIR")
    .replace(/"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"/g, '"MAC"')
    .replace(/"veth[0-9a-f]+"/g, '"veth"');
}

/** The reference leaves the MTU of interfaces out of some results. */
function withoutMtu(seen: AnyJson): AnyJson {
  for (const result of [seen.first, seen.second]) {
    for (const entry of result.interfaces ?? []) delete entry.mtu;
  }
  return seen;
}

/** All that `ip -d`, `bridge -d` and sysctl(8) show of an attachment, one value per name. */
function detailsOf(run: Run, env: readonly string[], config: AnyJson): ReadonlyMap<string, unknown> {
  const host = new CniHost("oracle");
  try {
    host.writeSubnetEnv(env);
    const container = host.addContainer();
    const { json } = run(host, "ADD", container, config);
    settle(host, [container]);
    const names: [string, CniContainer["netns"], string][] = [
      ["bridge", host.netns, json.interfaces[0].name],
      ["port", host.netns, json.interfaces[1].name],
      ["eth0", container.netns, "eth0"],
    ];
    return new Map(names.flatMap(([label, netns, name]) => deviceDetails(label, netns, name)));
  } finally {
    host.dispose();
  }
}

/** What differs from device to device, or with time. */
const VOLATILE =
  /(^|\.)(address|ifindex|ifname|link|link_index|link_netnsid|link_netns|\w+_id|root_id|\w*bridge|\w*root|\w*timer|local|valid_life_time|preferred_life_time|stable_secret|addr_info\.\d+\.(local|tentative))$/;

function deviceDetails(label: string, netns: CniContainer["netns"], name: string): [string, unknown][] {
  const [shown] = netns.ipJson(["-d", "address", "show", name]);
  const settings = netns
    .exec("sh", ["-c", `sysctl -a 2>/dev/null | grep -F '.conf.${name}.' || true`])
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replace(`.conf.${name}.`, ".conf.").split(" = ") as [string, string]);
  return [...flatten("", shown), ...settings]
    .filter(([key]) => !VOLATILE.test(key))
    .map(([key, value]) => [`${label} ${key}`, value]);
}

function flatten(path: string, value: unknown): [string, unknown][] {
  if (typeof value !== "object" || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([key, inner]) =>
    flatten(path === "" ? key : `${path}.${key}`, inner),
  );
}

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
    try {
      host.netns.exec("ip", ["link", "add", "name", "up0", "type", "veth", "peer", "name", "up1"]);
      for (const delegate of [{ type: "ptp" }, { type: "macvlan", master: "up0" }]) {
        const container = host.addContainer();
        const call = { container, config: { delegate }, environment: { CNI_PATH: folder } };
        const added = host.call("ADD", call);
        expect(added.exitCode, added.stdout).toBe(0);
        expect(added.json.ips[0].address).toMatch(/^10\.5\.72\.\d+\/(24|32)$/);
        expect(host.states()).toHaveLength(1);
        expect(host.call("DEL", call)).toMatchObject({ exitCode: 0, stdout: "" });
        expect([...host.reservations(), ...host.stateFiles()]).toEqual([]);
      }
      const reserved = join(host.dir, "ipam", NETWORK_NAME);
      writeFileSync(join(reserved, "10.5.72.99"), "died\r\neth0");
      utimesSync(join(reserved, "10.5.72.99"), 0, 0);
      writeFileSync(join(reserved, ".tulle-boot"), "another-boot");
      const call = { container: host.addContainer(), environment: { CNI_PATH: folder } };
      expect(host.call("ADD", { ...call, config: { delegate: { type: "ptp" } } }).exitCode).toBe(0);
      expect(host.reservations()).toHaveLength(1);
    } finally {
      host.dispose();
    }
  });
});
