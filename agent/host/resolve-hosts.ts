/** Addresses of hosts that are known by name, as this host resolves them (getaddrinfo(3)). */

import { lookup } from "node:dns/promises";
import { setTimeout as pause } from "node:timers/promises";
import { Address } from "../../ipam/addresses/ip.ts";

/** A start does not wait longer for a name server. */
const ANSWER_WITHIN_MS = 2000;

/** All addresses of the hosts, each a name or an address; a name without an answer in time has none. Never rejects. */
export async function resolveHosts(hosts: readonly string[]): Promise<readonly Address[]> {
  const known = await Promise.all(hosts.map(resolveHost));
  return known.flat();
}

async function resolveHost(host: string): Promise<readonly Address[]> {
  const literal = Address.parseOrNull(host.replace(/^\[(.*)\]$/, "$1"));
  if (literal !== null) return [literal];
  const late = new AbortController();
  const answers = lookup(host, { all: true }).catch(() => []);
  const none = pause(ANSWER_WITHIN_MS, [], { signal: late.signal }).catch(() => []);
  const found = await Promise.race([answers, none]);
  late.abort();
  return found.flatMap(({ address }) => Address.parseOrNull(address) ?? []);
}
