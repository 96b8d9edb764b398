/**
 * `ipMasq` by nftables.
 *
 * One table per network and family, with the set of containers to masquerade; ADD and DEL change the set only, so
 * that any number of calls in any order ends right. Packets that stay in the network keep their source.
 */

import { type Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { Allocation } from "../ipam/ranges.ts";
import { insideOf } from "./inside.ts";
import { applyRules, hasRules, TABLE_FAMILIES, tableName } from "./nft.ts";

/** Masquerades what the containers' addresses send beyond `inside` and their own subnets. Throws CniError 100. */
export function masquerade(
  networkName: string,
  allocations: readonly Allocation[],
  inside: readonly Prefix[],
): void {
  const lines = allocations.flatMap(({ address: { address, length } }) => {
    const { family } = address;
    const local = insideOf(family, [Prefix.of(address, length), ...inside]);
    return [...tableLines(networkName, family, local), elementLine("add", networkName, address)];
  });
  if (lines.length > 0) applyRules(lines);
}

/** Stops masquerading for these addresses; absent is a success. Throws CniError 100. */
export function stopMasquerading(networkName: string, addresses: readonly Address[]): void {
  const lines = addresses.flatMap((address) => [
    ...setLines(networkName, address.family),
    // nft refuses to delete what is absent, and has no word for "if present" in older versions.
    elementLine("add", networkName, address),
    elementLine("delete", networkName, address),
  ]);
  if (lines.length > 0) applyRules(lines);
}

/** True when all of these addresses are masqueraded. */
export function isMasquerading(networkName: string, addresses: readonly Address[]): boolean {
  return addresses.every((address) => {
    const table = `${TABLE_FAMILIES[address.family]} ${tableName(networkName)}`;
    const lines = [`list chain ${table} postrouting`, elementLine("get", networkName, address)];
    return hasRules(lines, ["saddr @containers", "masquerade"]);
  });
}

function tableLines(networkName: string, family: Family, local: readonly Prefix[]): string[] {
  const name = `${TABLE_FAMILIES[family]} ${tableName(networkName)}`;
  const outside = withoutOverlaps(local).join(", ");
  const ip = TABLE_FAMILIES[family];
  return [
    ...setLines(networkName, family),
    `add chain ${name} postrouting { type nat hook postrouting priority 100; }`,
    `flush chain ${name} postrouting`,
    `add rule ${name} postrouting ${ip} saddr @containers ${ip} daddr != { ${outside} } masquerade`,
  ];
}

function setLines(networkName: string, family: Family): string[] {
  const name = `${TABLE_FAMILIES[family]} ${tableName(networkName)}`;
  return [`add table ${name}`, `add set ${name} containers { type ipv${family}_addr; }`];
}

function elementLine(verb: "add" | "delete" | "get", networkName: string, address: Address): string {
  return `${verb} element ${TABLE_FAMILIES[address.family]} ${tableName(networkName)} containers { ${address} }`;
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
