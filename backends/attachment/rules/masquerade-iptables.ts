/**
 * Masquerading by iptables, for hosts without nft.
 *
 * One chain per container's address, which says what is masqueraded, and one jump to it. Declaring a chain empties it,
 * and the jump is taken out before it is put in, so that a repeated call has the same result.
 */

import { type Address, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import type { Allocation } from "../../../ipam/containers/ranges.ts";
import { shortDigest } from "../digest.ts";
import { attempt, feed } from "./engine.ts";
import { insideOf } from "./inside.ts";

const TOOLS: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };

/** Masquerades what the containers' addresses send beyond `inside` and their own subnets. Throws FirewallError. */
export async function masquerade(
  network: string,
  allocations: readonly Allocation[],
  inside: readonly Prefix[],
): Promise<void> {
  for (const {
    address: { address, length },
  } of allocations) {
    const chain = chainName(network, address);
    const kept = insideOf(address.family, [Prefix.of(address, length), ...inside]);
    await removeJump(network, address);
    await feed(
      `${TOOLS[address.family]}-restore`,
      ["--noflush", "--wait=10"],
      [
        "*nat",
        `:${chain} - [0:0]`,
        ...kept.map((prefix) => `-A ${chain} -d ${prefix} -j RETURN`),
        `-A ${chain} -j MASQUERADE`,
        `-A ${jump(network, address).join(" ")}`,
        "COMMIT",
      ],
    );
  }
}

/** Stops masquerading for these addresses; absent is a success. */
export async function stopMasquerading(network: string, addresses: readonly Address[]): Promise<void> {
  for (const address of addresses) {
    const nat = ["--wait", "10", "-t", "nat"];
    await removeJump(network, address);
    for (const verb of ["-F", "-X"]) {
      await attempt(TOOLS[address.family], [...nat, verb, chainName(network, address)]);
    }
  }
}

/** True when all of these addresses are masqueraded. */
export async function isMasquerading(network: string, addresses: readonly Address[]): Promise<boolean> {
  for (const address of addresses) {
    for (const rule of [jump(network, address), [chainName(network, address), "-j", "MASQUERADE"]]) {
      const check = ["--wait", "10", "-t", "nat", "-C", ...rule];
      if (!(await attempt(TOOLS[address.family], check))) return false;
    }
  }
  return true;
}

async function removeJump(network: string, address: Address): Promise<void> {
  await attempt(TOOLS[address.family], ["--wait", "10", "-t", "nat", "-D", ...jump(network, address)]);
}

function jump(network: string, address: Address): readonly string[] {
  return ["POSTROUTING", "-s", String(address), "-j", chainName(network, address)];
}

/** At most 28 characters (linux/netfilter/x_tables.h). */
function chainName(network: string, address: Address): string {
  return `TULLE-CNI-${shortDigest(`${network} ${address}`)}`;
}
