/**
 * Published ports: what arrives at a port of the host goes on to one of a container.
 *
 * One nftables table per family and attachment, named after the host's end of the pair: it is made in one transaction
 * and deleted as a whole, so that nothing is shared and no half can stay. Only the first packet of a connection passes
 * the chains (nft(8), "nat").
 */

import { type Address, FAMILIES, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import { ConfigError } from "../../../ipam/errors.ts";
import { attempt } from "./engine.ts";
import { applyRules, TABLE_FAMILIES } from "./nft.ts";
import type { PublishedPort } from "./published-port.ts";
import { forgetStaleFlows } from "./stale-flows.ts";

/** An address of the container, with the length of its subnet. */
export interface PublishedAddress {
  readonly address: { readonly address: Address; readonly length: number };
}

/** nft's words: what is the host's own and can be reached from elsewhere. */
const LOCAL: Readonly<Record<Family, string>> = {
  4: "ip daddr != 127.0.0.0/8 fib daddr type local",
  6: "ip6 daddr != ::1 fib daddr type local",
};

/**
 * Publishes the ports of an attachment; none is a success. Throws ConfigError for a host address of a family that the
 * container lacks, and FirewallError.
 */
export async function publishPorts(
  attachmentPort: string,
  addresses: readonly PublishedAddress[],
  ports: readonly PublishedPort[],
): Promise<void> {
  if (ports.length === 0) return;
  requireFamilies(addresses, ports);
  await applyRules([
    ...removalLines(attachmentPort),
    ...addresses.flatMap(({ address }) => tableLines(attachmentPort, address, ports)),
  ]);
  for (const { address } of addresses) forgetStaleFlows(address.address, portsOf(address.address, ports));
}

/** Stops publishing; absent rules, or no nft, are a success. */
export async function unpublishPorts(
  attachmentPort: string,
  families: readonly Family[] = FAMILIES,
): Promise<void> {
  for (const family of families) {
    await attempt("nft", [`delete table ${TABLE_FAMILIES[family]} ${tableOf(attachmentPort)}`]);
  }
}

function requireFamilies(addresses: readonly PublishedAddress[], ports: readonly PublishedPort[]): void {
  const families = new Set(addresses.map(({ address }) => address.address.family));
  for (const { hostAddress } of ports) {
    if (hostAddress === null || families.has(hostAddress.family)) continue;
    throw new ConfigError(
      `a port is published on ${hostAddress}, but the container has no IPv${hostAddress.family} address; take an address of the other family`,
    );
  }
}

/** nft fails to delete what is absent, and older versions have no `destroy`: so add it first. */
function removalLines(attachmentPort: string): readonly string[] {
  return Object.values(TABLE_FAMILIES).flatMap((family) => {
    const table = `${family} ${tableOf(attachmentPort)}`;
    return [`add table ${table}`, `delete table ${table}`];
  });
}

/** The ports that are published by the family of a container's address. */
function portsOf({ family }: Address, ports: readonly PublishedPort[]): readonly PublishedPort[] {
  return ports.filter(({ hostAddress }) => hostAddress === null || hostAddress.family === family);
}

function tableLines(
  attachmentPort: string,
  { address, length }: PublishedAddress["address"],
  ports: readonly PublishedPort[],
): readonly string[] {
  const { family } = address;
  const own = portsOf(address, ports);
  if (own.length === 0) return [];
  const ip = TABLE_FAMILIES[family];
  const table = `${ip} ${tableOf(attachmentPort)}`;
  return [
    `add table ${table}`,
    `add chain ${table} ports`,
    ...own.flatMap((port) =>
      forwardRules(ip, address, port).map((rule) => `add rule ${table} ports ${rule}`),
    ),
    ...["prerouting", "output"].flatMap((hook) => [
      `add chain ${table} ${hook} { type nat hook ${hook} priority -100; }`,
      `add rule ${table} ${hook} ${LOCAL[family]} jump ports`,
    ]),
    // Neighbours on the bridge, and the container itself, would otherwise get answers past the host.
    `add chain ${table} postrouting { type nat hook postrouting priority 100; }`,
    `add rule ${table} postrouting ct status dnat ${ip} saddr ${Prefix.of(address, length)} ${ip} daddr ${address} masquerade`,
  ];
}

/**
 * One rule per port. Of a range of targets the kernel would pick any port (nf_nat_core.c), and a map that a newer nft made
 * crashes nft 1.0.6 when it lists the table.
 */
function forwardRules(ip: string, container: Address, port: PublishedPort): readonly string[] {
  const { protocol, hostAddress, hostPort, containerPort, count } = port;
  const isEvery = hostAddress === null || hostAddress.isUnspecified;
  const arrived = isEvery ? "" : `${ip} daddr ${hostAddress} `;
  const target = container.family === 6 ? `[${container}]` : container;
  return Array.from(
    { length: count },
    (_, index) =>
      `${arrived}${protocol} dport ${hostPort + index} dnat to ${target}:${containerPort + index}`,
  );
}

function tableOf(attachmentPort: string): string {
  return `tulle-ports-${attachmentPort}`;
}
