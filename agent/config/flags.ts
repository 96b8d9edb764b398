/**
 * Every setting of the daemon, described once: the parser, `--help`, docs/configuration.md and the reload
 * rules all come from this table.
 *
 * Names and defaults of origin `flannel` are flanneld's. Data only: no parsing, no I/O.
 */

import {
  address,
  choice,
  custom,
  duration,
  type Fail,
  integer,
  type Kind,
  list,
  pattern,
  prefixes,
  repeated,
  text,
  toggle,
} from "./flag-kinds.ts";

/** Headings of the help text, in its order. */
export const GROUPS = [
  "General",
  "Lease store",
  "etcd",
  "Consul",
  "Interface",
  "Lease",
  "Firewall and forwarding",
  "Files",
  "Health and logs",
  "Kubernetes (read for compatibility; not in this version)",
] as const;
export type Group = (typeof GROUPS)[number];

export interface Flag<T> {
  readonly group: Group;
  readonly kind: Kind<T>;
  /** As one would write it on the command line; for repeatable flags empty means none. */
  readonly default: string;
  /** One sentence without a full stop. */
  readonly help: string;
  /** Who invented the flag: it decides the prefix of its environment variable. */
  readonly origin: "flannel" | "tulle";
  /** Environment variable of another program, read after our own. */
  readonly alsoEnv?: string;
  /** True when the value must never be shown. */
  readonly isSecret?: boolean;
  /** True when SIGHUP may change it while the daemon runs. */
  readonly isLive?: boolean;
  /** False when it makes sense only on the command line. Default true. */
  readonly isInFile?: boolean;
}

/** Where leases are kept. */
export type StoreChoice =
  | { readonly kind: "etcd" }
  | { readonly kind: "consul" }
  | { readonly kind: "file"; readonly directory: string };

function storeChoice(value: string, fail: Fail): StoreChoice {
  if (value === "etcd" || value === "consul") return { kind: value };
  const directory = value.startsWith("file:") ? value.slice("file:".length) : "";
  return directory.startsWith("/")
    ? { kind: "file", directory }
    : fail("give etcd, consul, or file: and an absolute directory, such as file:/var/lib/tulle/store");
}

const MAX_SECONDS = 315_360_000;

export const FLAGS = {
  help: {
    group: "General",
    kind: toggle,
    default: "false",
    help: "print this text and exit",
    origin: "tulle",
    isInFile: false,
  },
  version: {
    group: "General",
    kind: toggle,
    default: "false",
    help: "print the version and exit",
    origin: "flannel",
    isInFile: false,
  },
  config: {
    group: "General",
    kind: text("FILE"),
    default: "",
    help: "YAML or JSON file with these settings under the same names; SIGHUP reads it again",
    origin: "tulle",
    isInFile: false,
  },

  store: {
    group: "Lease store",
    kind: custom("etcd|consul|file:DIR", storeChoice),
    default: "etcd",
    help: "where leases are kept; file:DIR needs no server and serves the daemons of one machine",
    origin: "tulle",
  },

  "etcd-endpoints": {
    group: "etcd",
    kind: list("URL"),
    default: "http://127.0.0.1:4001,http://127.0.0.1:2379",
    help: "members of the etcd cluster",
    origin: "flannel",
  },
  "etcd-prefix": {
    group: "etcd",
    kind: text("KEY"),
    default: "/coreos.com/network",
    help: "key under which the network lives, also in a file store",
    origin: "flannel",
  },
  "etcd-cafile": {
    group: "etcd",
    kind: text("FILE"),
    default: "",
    help: "certificate authority that must have signed the servers' certificates",
    origin: "flannel",
  },
  "etcd-certfile": {
    group: "etcd",
    kind: text("FILE"),
    default: "",
    help: "client certificate, together with etcd-keyfile",
    origin: "flannel",
  },
  "etcd-keyfile": {
    group: "etcd",
    kind: text("FILE"),
    default: "",
    help: "key of the client certificate",
    origin: "flannel",
  },
  "etcd-username": {
    group: "etcd",
    kind: text("NAME"),
    default: "",
    help: "user for etcd's password authentication",
    origin: "flannel",
  },
  "etcd-password": {
    group: "etcd",
    kind: text("PASSWORD"),
    default: "",
    help: "password of etcd-username; other users see a command line, so prefer the environment or the file",
    origin: "flannel",
    isSecret: true,
  },

  "consul-address": {
    group: "Consul",
    kind: list("URL"),
    default: "127.0.0.1:8500",
    help: "Consul servers or agents, of which one is asked at a time; host:port, a URL or unix:///path",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_ADDR",
  },
  "consul-prefix": {
    group: "Consul",
    kind: text("KEY"),
    default: "coreos.com/network",
    help: "key under which the network lives",
    origin: "tulle",
  },
  "consul-token": {
    group: "Consul",
    kind: text("TOKEN"),
    default: "",
    help: "ACL token; other users see a command line, so prefer consul-token-file",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_TOKEN",
    isSecret: true,
  },
  "consul-token-file": {
    group: "Consul",
    kind: text("FILE"),
    default: "",
    help: "file that holds the ACL token; counts before a consul-token that comes from the same kind of source",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_TOKEN_FILE",
  },
  "consul-cafile": {
    group: "Consul",
    kind: text("FILE"),
    default: "",
    help: "certificate authority that must have signed the server's certificate",
    origin: "tulle",
    alsoEnv: "CONSUL_CACERT",
  },
  "consul-certfile": {
    group: "Consul",
    kind: text("FILE"),
    default: "",
    help: "client certificate, together with consul-keyfile",
    origin: "tulle",
    alsoEnv: "CONSUL_CLIENT_CERT",
  },
  "consul-keyfile": {
    group: "Consul",
    kind: text("FILE"),
    default: "",
    help: "key of the client certificate",
    origin: "tulle",
    alsoEnv: "CONSUL_CLIENT_KEY",
  },
  "consul-datacenter": {
    group: "Consul",
    kind: text("NAME"),
    default: "",
    help: "datacenter to ask; empty means that of the server that answers",
    origin: "tulle",
  },
  "consul-http-auth": {
    group: "Consul",
    kind: text("USER:PASSWORD"),
    default: "",
    help: "HTTP basic authentication, for a proxy in front of Consul; prefer the environment or the file",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_AUTH",
    isSecret: true,
  },
  "consul-ssl": {
    group: "Consul",
    kind: toggle,
    default: "false",
    help: "speak TLS also to addresses that do not say https",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_SSL",
  },
  "consul-ssl-verify": {
    group: "Consul",
    kind: toggle,
    default: "true",
    help: "check the server's certificate; without it anybody can answer in the server's place",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_SSL_VERIFY",
  },
  "consul-tls-server-name": {
    group: "Consul",
    kind: text("NAME"),
    default: "",
    help: "name that the server's certificate must carry instead of the address's host",
    origin: "tulle",
    alsoEnv: "CONSUL_TLS_SERVER_NAME",
  },
  "consul-node": {
    group: "Consul",
    kind: text("NAME"),
    default: "tulle",
    help: "node in Consul's catalog that holds the leases' sessions; registered if the token may do that",
    origin: "tulle",
  },

  iface: {
    group: "Interface",
    kind: repeated("NAME|IP", (value) => value),
    default: "",
    help: "interface for tunnel traffic, by name or by its address; the first that exists is taken",
    origin: "flannel",
  },
  "iface-regex": {
    group: "Interface",
    kind: repeated("REGEX", pattern),
    default: "",
    help: "interface whose address, else whose name, matches; tried after every iface",
    origin: "flannel",
  },
  "iface-can-reach": {
    group: "Interface",
    kind: address(),
    default: "",
    help: "interface that the route to this address leaves by",
    origin: "flannel",
  },
  "public-ip": {
    group: "Interface",
    kind: address(4),
    default: "",
    help: "address that other hosts send to; also chooses the interface that has it",
    origin: "flannel",
  },
  "public-ipv6": {
    group: "Interface",
    kind: address(6),
    default: "",
    help: "the same for IPv6",
    origin: "flannel",
  },

  "subnet-lease-ttl": {
    group: "Lease",
    kind: duration(1, MAX_SECONDS),
    default: "24h",
    help: "how long the lease outlives the last contact with the store",
    origin: "tulle",
  },
  "subnet-lease-renew-margin": {
    group: "Lease",
    kind: integer("MINUTES", 1, 1439),
    default: "60",
    help: "renew at least this long before the lease ends",
    origin: "flannel",
  },
  "on-lease-lost": {
    group: "Lease",
    kind: choice("keep", "renumber"),
    default: "keep",
    help: "when another host owns our subnet: keep forwarding without it, or take a new one",
    origin: "tulle",
  },
  "hold-down": {
    group: "Lease",
    kind: duration(0, MAX_SECONDS),
    default: "30s",
    help: "how long peers are kept when more than half vanish at once; 0 removes whoever vanishes at once",
    origin: "tulle",
  },

  "ip-masq": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "masquerade traffic that leaves the network",
    origin: "flannel",
    isLive: true,
  },
  "ip-masq-fully-random-disable": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "masquerade without randomised source ports",
    origin: "flannel",
    isLive: true,
  },
  "ip-masq-exclude": {
    group: "Firewall and forwarding",
    kind: prefixes,
    default: "",
    help: "destinations that keep the containers' source addresses",
    origin: "tulle",
    isLive: true,
  },
  "iptables-forward-rules": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "true",
    help: "accept forwarded traffic of the network",
    origin: "flannel",
    isLive: true,
  },
  "iptables-resync": {
    group: "Firewall and forwarding",
    kind: integer("SECONDS", 1, 86_400),
    default: "5",
    help: "how often the firewall rules are compared in full",
    origin: "flannel",
    isLive: true,
  },
  firewall: {
    group: "Firewall and forwarding",
    kind: choice("auto", "nft", "iptables", "none"),
    default: "auto",
    help: "which firewall the rules go to; auto: nft with EnableNFTables, else iptables if present, else nft",
    origin: "tulle",
  },
  "ip-blackhole-route": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "drop packets for addresses of our subnet that no container has",
    origin: "flannel",
    isLive: true,
  },
  "open-port": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "accept tunnel packets in the firewall's input chain",
    origin: "tulle",
    isLive: true,
  },
  "tunnel-sources": {
    group: "Firewall and forwarding",
    kind: choice("any", "peers"),
    default: "any",
    help: "which hosts' tunnel packets are accepted; peers: only the public addresses of leases",
    origin: "tulle",
    isLive: true,
  },
  "mss-clamp": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "lower the segment size of TCP connections to what fits through the tunnel",
    origin: "tulle",
    isLive: true,
  },
  "ip-forward": {
    group: "Firewall and forwarding",
    kind: toggle,
    default: "false",
    help: "switch on forwarding for the whole host, not only on our own devices",
    origin: "tulle",
  },

  "subnet-file": {
    group: "Files",
    kind: text("FILE"),
    default: "/run/flannel/subnet.env",
    help: "file that tells Docker and CNI plugins our subnet and MTU",
    origin: "flannel",
  },
  "state-dir": {
    group: "Files",
    kind: text("DIR"),
    default: "/var/lib/tulle",
    help: "what must outlive a reboot: the node's identity and keys",
    origin: "tulle",
  },
  "run-dir": {
    group: "Files",
    kind: text("DIR"),
    default: "/run/tulle",
    help: "the control socket",
    origin: "tulle",
  },

  "healthz-ip": {
    group: "Health and logs",
    kind: address(),
    default: "0.0.0.0",
    help: "address that /healthz, /readyz and /metrics listen on",
    origin: "flannel",
  },
  "healthz-port": {
    group: "Health and logs",
    kind: integer("PORT", 0, 65_535),
    default: "0",
    help: "port for them; 0 switches them off",
    origin: "flannel",
  },
  "log-level": {
    group: "Health and logs",
    kind: choice("auto", "debug", "info", "warn", "error"),
    default: "auto",
    help: "least serious line to write; auto: info, or debug when v is 1 or more",
    origin: "tulle",
    isLive: true,
  },
  "log-format": {
    group: "Health and logs",
    kind: choice("text", "json"),
    default: "text",
    help: "form of the lines on standard error",
    origin: "tulle",
  },
  v: {
    group: "Health and logs",
    kind: integer("LEVEL", 0, 100),
    default: "0",
    help: "flanneld's verbosity; 1 and more means debug",
    origin: "flannel",
    isLive: true,
  },
  vmodule: {
    group: "Health and logs",
    kind: text("PATTERN=LEVEL,…"),
    default: "",
    help: "read for compatibility, without effect",
    origin: "flannel",
  },
  log_backtrace_at: {
    group: "Health and logs",
    kind: text("FILE:LINE"),
    default: "",
    help: "read for compatibility, without effect",
    origin: "flannel",
  },

  "kube-subnet-mgr": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: toggle,
    default: "false",
    help: "take the subnet from the Kubernetes node",
    origin: "flannel",
  },
  "kube-api-url": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("URL"),
    default: "",
    help: "the API server",
    origin: "flannel",
  },
  "kubeconfig-file": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("FILE"),
    default: "",
    help: "how to reach it",
    origin: "flannel",
  },
  "kube-annotation-prefix": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("PREFIX"),
    default: "flannel.alpha.coreos.com",
    help: "prefix of the node's annotations",
    origin: "flannel",
  },
  "net-config-path": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("FILE"),
    default: "/etc/kube-flannel/net-conf.json",
    help: "the network configuration",
    origin: "flannel",
  },
  "set-node-network-unavailable": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: toggle,
    default: "true",
    help: "clear the node's NetworkUnavailable condition",
    origin: "flannel",
  },
} as const satisfies Readonly<Record<string, Flag<unknown>>>;

export type FlagName = keyof typeof FLAGS;
export const FLAG_NAMES = Object.keys(FLAGS) as FlagName[];

/** The value of every flag. */
export type FlagValues = {
  readonly [N in FlagName]: ReturnType<(typeof FLAGS)[N]["kind"]["parse"]>;
};

/** A flag's description, without its own value type. */
export function flagOf(name: FlagName): Flag<unknown> {
  return FLAGS[name];
}

export function isFlagName(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

/** `FLANNELD_PUBLIC_IP` for flannel's flags, `TULLED_STATE_DIR` for our own. */
export function environmentName(name: FlagName): string {
  const prefix = flagOf(name).origin === "flannel" ? "FLANNELD" : "TULLED";
  return `${prefix}_${name.toUpperCase().replaceAll("-", "_")}`;
}
