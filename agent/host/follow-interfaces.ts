/**
 * What a running daemon does about a host that changes: each family follows its own interface, so that an IPv6 address
 * that is missing keeps no IPv4 tunnel at an address that the host has lost. Pure.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { ChosenInterface, ChosenInterfaces } from "./choose-interface.ts";

export interface Followed {
  /** A family that stays where it is has the same object as before. */
  readonly chosen: ChosenInterfaces;
  /** Why it stays; null when all families follow. */
  readonly failure: InterfaceError | null;
}

/** Chooses again; a family without a usable interface stays where it is. Throws InterfaceError where that is nowhere. */
export function followInterfaces(
  before: ChosenInterfaces,
  families: readonly Family[],
  choose: (families: readonly Family[]) => ChosenInterfaces,
): Followed {
  try {
    return { chosen: choose(families), failure: null };
  } catch (failure) {
    if (!(failure instanceof InterfaceError)) throw failure;
    const choices = families.map((family) => [family, chosenOr(before[family], family, choose)] as const);
    if (choices.some(([, choice]) => choice === undefined)) throw failure;
    return { chosen: Object.fromEntries(choices) as ChosenInterfaces, failure };
  }
}

/** Whether no family follows. */
export function isAllKept(before: ChosenInterfaces, { chosen }: Followed): boolean {
  return Object.entries(chosen).every(([family, choice]) => choice === before[Number(family) as Family]);
}

function chosenOr(
  before: ChosenInterface | undefined,
  family: Family,
  choose: (families: readonly Family[]) => ChosenInterfaces,
): ChosenInterface | undefined {
  try {
    return choose([family])[family];
  } catch (error) {
    if (!(error instanceof InterfaceError)) throw error;
    return before;
  }
}
