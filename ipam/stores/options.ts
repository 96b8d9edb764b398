/**
 * The options of stores, and what a store uses of the process.
 *
 * Types and the checks that concern more than one store; the agent reads flags, files and the
 * environment.
 */

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/** Paths of PEM files; empty strings count as not given. */
export interface TlsFiles {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface EtcdOptions extends TlsFiles {
  /** URLs or `host:port`, as flanneld's -etcd-endpoints after splitting at commas; blanks are ignored. */
  readonly endpoints: readonly string[];
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export interface ConsulOptions extends TlsFiles {
  /** Servers or agents, used one at a time: `host:port`, `http://…`, `https://…` or `unix:///…`; blanks are ignored. */
  readonly addresses: readonly string[];
  readonly token?: string | undefined;
  /** Read again before each call; wins over `token`. */
  readonly tokenFile?: string | undefined;
  /** Empty: the datacenter of the server that answers. */
  readonly datacenter?: string | undefined;
  /** `user:password` for a proxy that asks for HTTP basic authentication (CONSUL_HTTP_AUTH). */
  readonly httpAuth?: string | undefined;
  /** TLS also for addresses that do not say https (CONSUL_HTTP_SSL). Default false. */
  readonly useTls?: boolean | undefined;
  /** Name that the server's certificate must carry instead of the address's host. */
  readonly tlsServerName?: string | undefined;
  /** False skips verification of the server's certificate (CONSUL_HTTP_SSL_VERIFY=false). Default true. */
  readonly verifyTls?: boolean | undefined;
  /** Name of the external node that holds our sessions. Default `tulle`. */
  readonly nodeName?: string | undefined;
}

/** The options of all kinds of store; those of other kinds are ignored. */
export interface StoreOptions {
  /** `etcd`, `consul`, or `file:DIR`. */
  readonly store: string;
  readonly etcd?: EtcdOptions | undefined;
  readonly consul?: ConsulOptions | undefined;
}

/** The edges of the process that a store uses. */
export interface StoreEnvironment {
  readonly log: Logger;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Milliseconds of the date, for the validity of certificates only. */
  readonly dateMs: () => number;
  /**
   * How long the last of the servers may take to answer at first, when that is longer than usual: for commands, which do
   * not retry. A slow server is recognized meanwhile.
   */
  readonly patienceMs?: number | undefined;
}

/** Drops blanks around and between the items of a list that was split at commas. */
export function cleanList(items: readonly string[]): readonly string[] {
  return items.flatMap((item) => item.split(",")).flatMap((item) => item.trim() || []);
}

/** An address for logs and errors, without the name and password in front of the host. */
export function withoutCredentials(address: string): string {
  return address.replace(/^([a-z]+:\/\/)?.*@/i, "$1(not shown)@");
}
