/** Where the leases are kept, and how to reach it. */

import { canBeToken } from "../../../ipam/stores/consul/token.ts";
import type { Flags } from "./flag.ts";
import { anyText, custom, type Fail, list, text, toggle } from "./flag-kinds.ts";

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

function consulToken(value: string, fail: Fail): string {
  return canBeToken(value) ? value : fail("it holds a line break or another character that no token has");
}

export const STORE_FLAGS = {
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
    help: "key prefix of the network, also in a file store",
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
    kind: anyText("PASSWORD"),
    default: "",
    help: "password of etcd-username; other users see a command line, so prefer the environment or the file",
    origin: "flannel",
    isSecret: true,
  },

  "consul-address": {
    group: "Consul",
    kind: list("URL"),
    default: "127.0.0.1:8500",
    help: "Consul servers or agents, used one at a time; host:port, a URL or unix:///path",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_ADDR",
  },
  "consul-prefix": {
    group: "Consul",
    kind: text("KEY"),
    default: "coreos.com/network",
    help: "key prefix of the network",
    origin: "tulle",
  },
  "consul-token": {
    group: "Consul",
    kind: custom("TOKEN", consulToken),
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
    help: "file that holds the ACL token; overrides a consul-token from the same kind of source",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_TOKEN_FILE",
    isSecretFile: true,
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
    help: "datacenter to query; empty: the server's own",
    origin: "tulle",
  },
  "consul-http-auth": {
    group: "Consul",
    kind: anyText("USER:PASSWORD"),
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
    help: "use TLS for addresses without a scheme too",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_SSL",
  },
  "consul-ssl-verify": {
    group: "Consul",
    kind: toggle,
    default: "true",
    help: "verify the server's certificate; without that any host can impersonate the server",
    origin: "tulle",
    alsoEnv: "CONSUL_HTTP_SSL_VERIFY",
  },
  "consul-tls-server-name": {
    group: "Consul",
    kind: text("NAME"),
    default: "",
    help: "name that the server's certificate must hold, if not the host of the address",
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
} as const satisfies Flags;
