/**
 * The daemon's configuration: from command line, environment and file to one immutable object.
 *
 * Checks everything that can be checked without the network, the kernel or the store. Does not read
 * process.env or process.argv: the main file passes them in.
 */

import type { Address, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { readConfigFile } from "./config-file.ts";
import { type GivenFlags, parseFlags } from "./flag-parser.ts";
import { FLAG_NAMES, type FlagName, type FlagValues, flagOf } from "./flags.ts";
import { requireConsistent, warningsAbout } from "./rules.ts";
import { type Environment, overrides, resolveSettings, type Settings, settingError } from "./settings.ts";
import { type UiSettings, uiSettings } from "./ui-settings.ts";

/** TLS files; empty text means not given. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** How to reach the lease store. */
export type StoreSettings =
  | {
      readonly kind: "etcd";
      readonly prefix: string;
      readonly endpoints: readonly string[];
      readonly tls: TlsFiles;
      readonly username: string;
      readonly password: string;
    }
  | {
      readonly kind: "consul";
      readonly prefix: string;
      readonly addresses: readonly string[];
      readonly tls: TlsFiles;
      readonly useTls: boolean;
      readonly verifyTls: boolean;
      readonly tlsServerName: string;
      readonly token: string;
      readonly tokenFile: string;
      readonly httpAuth: string;
      readonly datacenter: string;
      readonly nodeName: string;
    }
  | { readonly kind: "file"; readonly prefix: string; readonly directory: string };

/** Which interface carries the tunnel; tried in the order of the fields. */
export interface InterfaceSettings {
  /** Names or addresses. */
  readonly interfaces: readonly string[];
  readonly patterns: readonly RegExp[];
  readonly canReach: Address | null;
  /** What to advertise instead of the interface's own address. */
  readonly publicAddress: PerFamily<Address>;
}

export interface LeaseSettings {
  readonly ttlSeconds: number;
  readonly renewMarginSeconds: number;
  readonly onLost: "keep" | "renumber";
  /** How long a single peer that vanished is kept; 0 removes it at once. */
  readonly leaveGraceSeconds: number;
  /** 0 switches the hold-down off. */
  readonly holdDownSeconds: number;
}

export interface FirewallSettings {
  readonly engine: "auto" | "nft" | "iptables" | "none";
  readonly masquerade: boolean;
  readonly isFullyRandom: boolean;
  readonly masqueradeExcluded: readonly Prefix[];
  readonly acceptForwarded: boolean;
  readonly resyncSeconds: number;
  readonly blackholeRoute: boolean;
  readonly openPort: boolean;
  readonly tunnelSources: "any" | "peers";
  readonly containerSources: "any" | "strict";
  readonly clampMss: boolean;
  /** Switch on the host's global forwarding. */
  readonly enableForwarding: boolean;
}

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "text" | "json";

/** Docker's driver for named networks. */
export interface DockerSettings {
  readonly plugin: "auto" | "on" | "off";
  readonly pluginSocket: string;
  readonly engineSocket: string;
}

/** Everything an administrator decides about one daemon. */
export interface AgentConfig {
  readonly store: StoreSettings;
  readonly interface: InterfaceSettings;
  readonly lease: LeaseSettings;
  readonly firewall: FirewallSettings;
  readonly docker: DockerSettings;
  readonly files: {
    readonly subnetFile: string;
    readonly stateDir: string;
    readonly runDir: string;
    /** Null: a file in the state directory. */
    readonly wireguardKeyFile: string | null;
  };
  /** Null when switched off. Host is null for every address. */
  readonly health: { readonly host: Address | null; readonly port: number } | null;
  /** Null when switched off. */
  readonly ui: UiSettings | null;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Packets per second for all peers together; 0 switches probes off. */
  readonly probesPerSecond: number;
  /** The second way to peers of the first network. */
  readonly fallback: "none" | "udp";
}

/** What the command line asked for. */
export type Request =
  | { readonly action: "help" }
  | { readonly action: "version" }
  | ({ readonly action: "run" } & LoadedConfig);

export interface LoadedConfig {
  readonly settings: Settings;
  readonly config: AgentConfig;
  /** One sentence each: harmless, but probably a mistake. */
  readonly warnings: readonly string[];
}

/**
 * Reads command line, environment and config file. Throws ConfigError for anything wrong and
 * UnsupportedError for what this version does not do.
 */
export async function loadConfig(args: readonly string[], environment: Environment): Promise<Request> {
  const ignored: string[] = [];
  const given = parseFlags(args, ignored);
  const early = readValues(resolveSettings(onlyActions(given), {}, null));
  if (early.help) return { action: "help" };
  if (early.version) return { action: "version" };
  const loaded = await loadGiven(given, environment);
  return { action: "run", ...loaded, warnings: [...ignored, ...loaded.warnings] };
}

/** The configuration that these flags, the environment and the config file make. Throws as loadConfig does. */
export async function loadGiven(given: GivenFlags, environment: Environment): Promise<LoadedConfig> {
  const withoutFile = resolveSettings(given, environment, null);
  const path = withoutFile.config.texts.at(-1) ?? "";
  const settings =
    path === "" ? withoutFile : resolveSettings(given, environment, await readConfigFile(path));
  const config = buildConfig(settings);
  return { settings, config, warnings: warningsAbout(settings, environment) };
}

/** `--help` must work on a line that is wrong otherwise. */
function onlyActions(given: GivenFlags): GivenFlags {
  return new Map([...given].filter(([name]) => name === "help" || name === "version"));
}

/** Reads every setting's text. Throws ConfigError at the first wrong one. */
function readValues(settings: Settings): FlagValues {
  const values: Partial<Record<FlagName, unknown>> = {};
  for (const name of FLAG_NAMES) {
    values[name] = flagOf(name).kind.parse(settings[name].texts, (remedy) => {
      throw settingError(settings, name, remedy);
    });
  }
  return values as FlagValues;
}

/** Makes the configuration from settings. Throws ConfigError and UnsupportedError. */
function buildConfig(settings: Settings): AgentConfig {
  const values = readValues(settings);
  requireConsistent(settings, values);
  return {
    store: storeSettings(values, settings),
    interface: {
      interfaces: values.iface,
      patterns: values["iface-regex"],
      canReach: values["iface-can-reach"],
      publicAddress: {
        ...(values["public-ip"] ? { 4: values["public-ip"] } : {}),
        ...(values["public-ipv6"] ? { 6: values["public-ipv6"] } : {}),
      },
    },
    lease: {
      ttlSeconds: values["subnet-lease-ttl"],
      renewMarginSeconds: values["subnet-lease-renew-margin"] * 60,
      onLost: values["on-lease-lost"],
      leaveGraceSeconds: values["leave-grace"],
      holdDownSeconds: values["hold-down"],
    },
    firewall: firewallSettings(values),
    docker: {
      plugin: values["docker-plugin"],
      pluginSocket: values["docker-plugin-socket"],
      engineSocket: values["docker-socket"],
    },
    files: {
      subnetFile: values["subnet-file"],
      stateDir: values["state-dir"],
      wireguardKeyFile: values["wireguard-key-file"] || null,
      runDir: values["run-dir"],
    },
    health:
      values["healthz-port"] === 0 ? null : { host: values["healthz-ip"], port: values["healthz-port"] },
    ui: uiSettings(values, settings),
    log: { level: logLevel(values), format: values["log-format"] },
    probesPerSecond: values["probe-rate"],
    fallback: values.fallback,
  };
}

function storeSettings(values: FlagValues, settings: Settings): StoreSettings {
  const store = values.store;
  switch (store.kind) {
    case "etcd":
      return {
        kind: "etcd",
        prefix: values["etcd-prefix"],
        endpoints: values["etcd-endpoints"],
        tls: {
          caFile: values["etcd-cafile"],
          certFile: values["etcd-certfile"],
          keyFile: values["etcd-keyfile"],
        },
        username: values["etcd-username"],
        password: values["etcd-password"],
      };
    case "consul":
      return {
        kind: "consul",
        prefix: values["consul-prefix"],
        addresses: values["consul-address"],
        tls: {
          caFile: values["consul-cafile"],
          certFile: values["consul-certfile"],
          keyFile: values["consul-keyfile"],
        },
        useTls: values["consul-ssl"],
        verifyTls: values["consul-ssl-verify"],
        tlsServerName: values["consul-tls-server-name"],
        token: values["consul-token"],
        // From sources of equal rank the file wins over the token, as with Consul's own programs.
        tokenFile: overrides(settings, "consul-token", "consul-token-file")
          ? ""
          : values["consul-token-file"],
        httpAuth: values["consul-http-auth"],
        datacenter: values["consul-datacenter"],
        nodeName: values["consul-node"],
      };
    case "file":
      return { kind: "file", prefix: values["etcd-prefix"], directory: store.directory };
  }
}

function firewallSettings(values: FlagValues): FirewallSettings {
  return {
    engine: values.firewall,
    masquerade: values["ip-masq"],
    isFullyRandom: !values["ip-masq-fully-random-disable"],
    masqueradeExcluded: values["ip-masq-exclude"],
    acceptForwarded: values["iptables-forward-rules"],
    resyncSeconds: values["iptables-resync"],
    blackholeRoute: values["ip-blackhole-route"],
    openPort: values["open-port"],
    tunnelSources: values["tunnel-sources"],
    containerSources: values["container-sources"],
    clampMss: values["mss-clamp"],
    enableForwarding: values["ip-forward"],
  };
}

function logLevel(values: FlagValues): LogLevel {
  const level = values["log-level"];
  if (level !== "auto") return level;
  return values.v >= 1 ? "debug" : "info";
}

/** What a second reading of the configuration means for a running daemon. */
export interface Reload {
  readonly loaded: LoadedConfig;
  /** Settings that changed and are in force now. */
  readonly applied: readonly FlagName[];
  /** Settings that changed but wait for a restart. */
  readonly refused: readonly FlagName[];
}

/** Merges what may change at run time from `next` into `current`. Throws as buildConfig does. */
export function reloadConfig(current: LoadedConfig, next: LoadedConfig): Reload {
  const changed = FLAG_NAMES.filter(
    (name) => current.settings[name].texts.join("\0") !== next.settings[name].texts.join("\0"),
  );
  const isLive = (name: FlagName): boolean => flagOf(name).isLive ?? false;
  const applied = changed.filter(isLive);
  const merged: Record<FlagName, Settings[FlagName]> = { ...current.settings };
  for (const name of applied) merged[name] = next.settings[name];
  return {
    loaded: { settings: merged, config: buildConfig(merged), warnings: next.warnings },
    applied,
    refused: changed.filter((name) => !isLive(name)),
  };
}
