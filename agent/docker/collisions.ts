/** Settings that dockerd would refuse, or apply in an unexpected way, beside this host's subnet. Pure. */

import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { DockerdOption } from "./dockerd-options.ts";

/** Where the settings go. */
export type SetupTarget = "daemon-json" | "drop-in";

export interface SetupFacts {
  readonly target: SetupTarget;
  readonly env: SubnetEnv;
  /** True when Docker is told to masquerade. */
  readonly dockerMasquerades: boolean;
  /** The options that tulle gives, as keys of daemon.json. */
  readonly ownKeys: ReadonlySet<string>;
  /** The options that remain on dockerd's command line. */
  readonly options: readonly DockerdOption[];
  /** As in "docker.service gives …". */
  readonly serviceName: string;
  /** Whether a drop-in could carry the settings instead of daemon.json. */
  readonly mayUseDropIn: boolean;
  /** daemon.json as it will be, and its path. */
  readonly settings: JsonObject;
  readonly daemonJson: string;
}

export interface Collisions {
  /** dockerd would not start, or not with this subnet: nothing may be written. */
  readonly refusals: readonly string[];
  readonly warnings: readonly string[];
}

/** A setting with its origin. */
interface Given {
  readonly name: string;
  readonly value: string;
  /** The origin and the setting: `docker.service gives --bridge=br0`. */
  readonly where: string;
}

export function findCollisions(facts: SetupFacts): Collisions {
  const given = [...facts.options.map((option) => fromOption(option, facts)), ...fromSettings(facts)];
  const refusals = [...twice(facts), ...given.flatMap((one) => refusalOf(one, facts))];
  return { refusals, warnings: given.flatMap((one) => warningOf(one, facts)) };
}

function fromOption({ name, value, spelled, variable }: DockerdOption, { serviceName }: SetupFacts): Given {
  return { name, value, where: `${variable ?? serviceName} gives ${spelled}` };
}

function fromSettings({ settings, daemonJson, target, ownKeys }: SetupFacts): readonly Given[] {
  return Object.entries(settings)
    .filter(([name]) => target === "drop-in" || !ownKeys.has(name))
    .map(([name, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return { name, value: text, where: `${daemonJson} sets "${name}" to ${JSON.stringify(value)}` };
    });
}

/** dockerd refuses a setting that both a flag and daemon.json give, even with the same value. */
function twice(facts: SetupFacts): readonly string[] {
  const { target, options, settings, ownKeys, serviceName, daemonJson } = facts;
  if (target === "drop-in") {
    const both = Object.keys(settings).filter((name) => ownKeys.has(name));
    return both.map(
      (name) =>
        `${daemonJson} sets "${name}", and dockerd refuses a setting that its command line gives too: remove it`,
    );
  }
  const both = options.filter(({ name }) => ownKeys.has(name));
  const otherWay = facts.mayUseDropIn ? ", or use --into drop-in" : "";
  return both.map(
    ({ spelled, variable }) =>
      `${variable ?? serviceName} gives ${spelled}, and dockerd refuses a setting that ${daemonJson} has too: ` +
      `remove it there${otherWay}`,
  );
}

function refusalOf(
  { name, value, where }: Given,
  { target, env, daemonJson }: SetupFacts,
): readonly string[] {
  switch (name) {
    case "bridge":
      return value === "" ? [] : [`${where}, and dockerd accepts no bip together with it: remove it`];
    case "config-file":
      return target === "drop-in" || value === daemonJson
        ? []
        : [`${where}, and dockerd reads no other file: give --daemon-json ${value}`];
    case "bip6":
      return env.subnets[6] === undefined
        ? []
        : [`${where}, and Docker takes IPv6 from this host's subnet: remove it`];
    case "fixed-cidr":
    case "default-gateway":
    case "default-gateway-v6": {
      const misfit = misfitOf(name, value, env);
      return misfit === null ? [] : [`${where}, ${misfit}: remove it`];
    }
    default:
      return [];
  }
}

function warningOf(
  { name, value, where }: Given,
  { target, env, dockerMasquerades, ownKeys }: SetupFacts,
): readonly string[] {
  if (ownKeys.has(name))
    return target === "drop-in" ? [`${where}; tulle's option comes last and overrides it`] : [];
  switch (name) {
    case "fixed-cidr":
    case "default-gateway":
      return value === "" || misfitOf(name, value, env) !== null
        ? []
        : [`${where}, which fits only while this host has its present subnet: remove it`];
    case "iptables":
    case "ip6tables": {
      const family = name === "iptables" ? 4 : 6;
      return value === "false" && dockerMasquerades && env.subnets[family] !== undefined
        ? [
            `${where}: Docker masquerades nothing of IPv${family}, and tulled does not either; start tulled with --ip-masq`,
          ]
        : [];
    }
    default:
      return [];
  }
}

/** Why a range or a gateway does not fit into the subnet; null when it does, or is not set. */
function misfitOf(name: string, value: string, { subnets }: SubnetEnv): string | null {
  const bridge = subnets[name.endsWith("-v6") ? 6 : 4];
  if (bridge === undefined || value === "") return null;
  const subnet = Prefix.of(bridge.address, bridge.length);
  if (!isInside(subnet, value)) return `which is outside of ${subnet}`;
  const taken = [bridge.address, subnet.base, subnet.last].map(String);
  return name !== "fixed-cidr" && taken.includes(value) ? `which is not a free address of ${subnet}` : null;
}

/** False for malformed text too, which dockerd rejects. */
function isInside(subnet: Prefix, value: string): boolean {
  try {
    return subnet.contains(value.includes("/") ? Prefix.parse(value) : Address.parse(value));
  } catch {
    return false;
  }
}
