/**
 * Masquerading by nftables.
 *
 * One table per network and family, with the set of containers to masquerade; ADD and DEL change the set only, so
 * that any number of calls in any order ends right. Packets that stay in the network keep their source.
 */

import { type Address, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import type { Allocation } from "../../../ipam/containers/ranges.ts";
import { insideOf } from "./inside.ts";
import { applyRules, hasRules, TABLE_FAMILIES, tableName } from "./nft.ts";

/** Masquerades what the containers' addresses send beyond `inside` and their own subnets. Throws FirewallError. */
export async function masquerade(
  network: string,
  allocations: readonly Allocation[],
  inside: readonly Prefix[],
): Promise<void> {
  const lines = allocations.flatMap(({ address: { address, length } }) => {
    const { family } = address;
    const local = insideOf(family, [Prefix.of(address, length), ...inside]);
    return [...tableLines(network, family, local), elementLine("add", network, address)];
  });
  if (lines.length > 0) await applyRules(lines);
}

/** Stops masquerading for these addresses; absent is a success. Throws FirewallError. */
export async function stopMasquerading(network: string, addresses: readonly Address[]): Promise<void> {
  const lines = addresses.flatMap((address) => [
    ...setLines(network, address.family),
    // nft fails to delete what is absent, and older versions have no `destroy`.
    elementLine("add", network, address),
    elementLine("delete", network, address),
  ]);
  if (lines.length > 0) await applyRules(lines);
}

/** True when all of these addresses are masqueraded. */
export async function isMasquerading(network: string, addresses: readonly Address[]): Promise<boolean> {
  for (const address of addresses) {
    const table = `${TABLE_FAMILIES[address.family]} ${tableName(network)}`;
    const lines = [`list chain ${table} postrouting`, elementLine("get", network, address)];
    if (!(await hasRules(lines, ["saddr @containers", "masquerade"]))) return false;
  }
  return true;
}

function tableLines(network: string, family: Family, local: readonly Prefix[]): string[] {
  const name = `${TABLE_FAMILIES[family]} ${tableName(network)}`;
  const outside = withoutOverlaps(local).join(", ");
  const ip = TABLE_FAMILIES[family];
  return [
    ...setLines(network, family),
    `add chain ${name} postrouting { type nat hook postrouting priority 100; }`,
    `flush chain ${name} postrouting`,
    `add rule ${name} postrouting ${ip} saddr @containers ${ip} daddr != { ${outside} } masquerade`,
  ];
}

function setLines(network: string, family: Family): string[] {
  const name = `${TABLE_FAMILIES[family]} ${tableName(network)}`;
  return [`add table ${name}`, `add set ${name} containers { type ipv${family}_addr; }`];
}

function elementLine(verb: "add" | "delete" | "get", network: string, address: Address): string {
  return `${verb} element ${TABLE_FAMILIES[address.family]} ${tableName(network)} containers { ${address} }`;
}

/** nft refuses overlapping intervals in one set. */
function withoutOverlaps(prefixes: readonly Prefix[]): readonly Prefix[] {
  return prefixes.filter(
    (prefix, index) =>
      !prefixes.some(
        (other, position) =>
          other.contains(prefix) && (position < index || (position > index && !prefix.contains(other))),
      ),
  );
}
