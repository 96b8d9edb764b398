/**
 * What a starting daemon does about a family whose address is not there, as before a router advertises its prefix: that
 * family takes the address of this host's lease, on the interface of the other one, so that the other need not wait. A
 * running daemon stays in the same way: see follow-interfaces.ts. Pure.
 */

import type { Address, Family, PerFamily } from "../../ipam/addresses/ip.ts";
import { mapFamilies } from "../../ipam/addresses/ip.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { ChosenInterface, ChosenInterfaces } from "./choose-interface.ts";
import { type Followed, followInterfaces } from "./follow-interfaces.ts";

/** Chooses; a family without a usable interface takes its address of `leased`. Throws InterfaceError where there is none. */
export function startInterfaces(
  families: readonly Family[],
  leased: PerFamily<Address>,
  choose: (families: readonly Family[]) => ChosenInterfaces,
): Followed {
  return followInterfaces(standIns(families, leased, choose), families, choose);
}

/** Empty where no family has an interface. */
function standIns(
  families: readonly Family[],
  leased: PerFamily<Address>,
  choose: (families: readonly Family[]) => ChosenInterfaces,
): ChosenInterfaces {
  const link = families.map((family) => linkFor(family, choose)).find((found) => found !== null);
  if (link === undefined) return {};
  return mapFamilies(leased, (address) => ({
    link,
    address,
    hasNetwork: false,
    publicAddress: address,
    reason: `its lease names ${address}, which is missing`,
    // Whatever a rule finds later is better.
    rank: Number.POSITIVE_INFINITY,
    insteadOf: null,
    warnings: [],
  }));
}

function linkFor(
  family: Family,
  choose: (families: readonly Family[]) => ChosenInterfaces,
): ChosenInterface["link"] | null {
  try {
    return choose([family])[family]?.link ?? null;
  } catch (error) {
    if (error instanceof InterfaceError) return null;
    throw error;
  }
}
