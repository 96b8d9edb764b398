/**
 * What a CNI plugin does with one configuration, on a host of its own: its results, and what the kernel and the disk then
 * hold, without what is random.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deriveDelegate } from "../../cni-plugin/config/delegate.ts";
import { parseSubnetEnv } from "../../ipam/config/subnet-env.ts";
import { type AnyJson, type CniContainer, CniHost, NETWORK_NAME } from "./cni-host.ts";
import { referencePlugins, type Suite } from "./reference-plugins.ts";

/** A plugin: calls it on a host for one of its containers. */
export type Run = (host: CniHost, verb: string, container: CniContainer, config: AnyJson) => AnyJson;

export const ours: Run = (host, verb, container, config) => host.call(verb, { container, config });

/** bridge and host-local get what flannel would derive for them. */
export function bridgePlugin(suite: Suite): Run {
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
export const flannelPlugin: Run = (host, verb, container, config) =>
  host.call(verb, {
    container,
    config,
    program: join(referencePlugins("bullseye") ?? "", "flannel"),
    environment: { CNI_PATH: referencePlugins("bookworm") ?? "" },
  });

/** Runs ADD twice and DEL once on a host of its own and tells all that can be seen, without what is random. */
export function observe(run: Run, env: readonly string[], config: AnyJson): AnyJson {
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
export function withoutMtu(seen: AnyJson): AnyJson {
  for (const result of [seen.first, seen.second]) {
    for (const entry of result.interfaces ?? []) delete entry.mtu;
  }
  return seen;
}

/** All that `ip -d`, `bridge -d` and sysctl(8) show of an attachment, one value per name. */
export function detailsOf(run: Run, env: readonly string[], config: AnyJson): ReadonlyMap<string, unknown> {
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
