/** Which targets a person means by the words of a command: leases, subnets, host names, addresses. Pure. */

import { Address, type Family, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { ProbeTarget } from "../probes/probe.ts";
import type { TargetList } from "../probes/target-list.ts";
import type { ProbeContainers } from "./request.ts";

/** Addresses among the words that are in peers' subnets, but for those that the peers themselves have. */
export function namedContainers(targets: readonly ProbeTarget[], words: readonly string[]): ProbeContainers {
  const named = new Map<LeaseKey, PerFamily<Address>>();
  for (const address of words.flatMap((word) => Address.parseOrNull(word) ?? [])) {
    const target = targets.find(({ subnet, inner }) => subnet.contains(address) && !inner.equals(address));
    if (target === undefined) continue;
    const others: Partial<Record<Family, Address>> = { ...named.get(target.peer) };
    others[target.family] = address;
    named.set(target.peer, others);
  }
  return named;
}

/** The targets that the words name. Throws ConfigError for a word that names none. */
export function chooseTargets(
  { targets, hostNames }: TargetList,
  words: readonly string[],
): readonly ProbeTarget[] {
  if (words.length === 0) return targets;
  const chosen = new Set<ProbeTarget>();
  for (const word of words) {
    const found = targets.filter(
      (target) =>
        isNamed(target, word) || (Object.hasOwn(hostNames, target.peer) && hostNames[target.peer] === word),
    );
    if (found.length === 0) {
      throw new ConfigError(
        `${word} is not a peer of this host: give a lease, a host name, a public address or an address of a container, as "tulle leases" shows them`,
      );
    }
    for (const target of found) chosen.add(target);
  }
  return targets.filter((target) => chosen.has(target));
}

function isNamed({ peer, subnet, outer }: ProbeTarget, word: string): boolean {
  if (peer === word || Prefix.parseOrNull(word)?.equals(subnet)) return true;
  const address = Address.parseOrNull(word);
  return address !== null && (outer.equals(address) || subnet.contains(address));
}
