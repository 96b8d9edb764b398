/**
 * `ipMasq` by iptables, for hosts without nft.
 *
 * One chain per container's address, which says what is masqueraded, and one jump to it. Writing a chain anew
 * replaces what it held, and the jump is taken out before it is put in, so that a repeated call ends right.
 */

import { type Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { shortDigest } from "../digest.ts";
import type { Allocation } from "../ipam/ranges.ts";
import { insideOf } from "./inside.ts";
import { attempt, feed } from "./tool.ts";

const TOOLS: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };

/** Masquerades what the containers' addresses send beyond `inside` and their own subnets. Throws CniError 100. */
export function masquerade(
  networkName: string,
  allocations: readonly Allocation[],
  inside: readonly Prefix[],
): void {
  for (const {
    address: { address, length },
  } of allocations) {
    const chain = chainName(networkName, address);
    const kept = insideOf(address.family, [Prefix.of(address, length), ...inside]);
    removeJump(networkName, address);
    feed(
      `${TOOLS[address.family]}-restore`,
      ["--noflush", "--wait=10"],
      [
        "*nat",
        `:${chain} - [0:0]`,
        ...kept.map((prefix) => `-A ${chain} -d ${prefix} -j RETURN`),
        `-A ${chain} -j MASQUERADE`,
        `-A ${jump(networkName, address).join(" ")}`,
        "COMMIT",
      ],
    );
  }
}

/** Stops masquerading for these addresses; absent is a success. */
export function stopMasquerading(networkName: string, addresses: readonly Address[]): void {
  for (const address of addresses) {
    const nat = ["--wait", "10", "-t", "nat"];
    removeJump(networkName, address);
    for (const verb of ["-F", "-X"]) {
      attempt(TOOLS[address.family], [...nat, verb, chainName(networkName, address)]);
    }
  }
}

/** True when all of these addresses are masqueraded. */
export function isMasquerading(networkName: string, addresses: readonly Address[]): boolean {
  return addresses.every((address) =>
    [jump(networkName, address), [chainName(networkName, address), "-j", "MASQUERADE"]].every((rule) =>
      attempt(TOOLS[address.family], ["--wait", "10", "-t", "nat", "-C", ...rule]),
    ),
  );
}

function removeJump(networkName: string, address: Address): void {
  attempt(TOOLS[address.family], ["--wait", "10", "-t", "nat", "-D", ...jump(networkName, address)]);
}

function jump(networkName: string, address: Address): readonly string[] {
  return ["POSTROUTING", "-s", String(address), "-j", chainName(networkName, address)];
}

/** At most 28 characters (linux/netfilter/x_tables.h). */
function chainName(networkName: string, address: Address): string {
  return `TULLE-CNI-${shortDigest(`${networkName} ${address}`)}`;
}
