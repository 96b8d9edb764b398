/**
 * Keeps a failure of one address family from the other: a host without ip6tables, or a kernel without a table of IPv6,
 * still gets all rules of IPv4.
 */

import { FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { Drift } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import type { FirewallPlans } from "./rules.ts";

/** What failed for one family. */
export interface FamilyFailure {
  readonly family: Family;
  readonly error: unknown;
}

/** True when a network has rules of this family. */
export function isWanted(plans: FirewallPlans, family: Family): boolean {
  return [...plans.values()].some(({ rules }) => rules[family] !== undefined);
}

/** Does the work of all families at once, waits for all, and returns the drifts. Throws as throwFirst. */
export async function forEachFamily(
  work: (family: Family) => Promise<readonly Drift[]>,
): Promise<readonly Drift[]> {
  const outcomes = await Promise.allSettled(FAMILIES.map(work));
  const failures = FAMILIES.flatMap((family, index): FamilyFailure[] => {
    const outcome = outcomes[index];
    return outcome?.status === "rejected" ? [{ family, error: outcome.reason }] : [];
  });
  throwFirst(failures);
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
}

/** Throws the first failure, whose `details.families` lists all families that failed; returns when there is none. */
export function throwFirst(failures: readonly FamilyFailure[]): void {
  const [first] = failures;
  if (first === undefined) return;
  const { error } = first;
  if (!(error instanceof FirewallError)) throw error;
  const families = [...new Set(failures.map(({ family }) => family))];
  const subject = families.length === 1 ? `IPv${first.family}: ` : "";
  throw new FirewallError(`${subject}${error.message}`, {
    details: { ...error.details, families },
    retryable: error.retryable,
    cause: error,
  });
}

/** True when the error left a family with all its rules. */
export function isPartial(error: unknown, plans: FirewallPlans): error is FirewallError {
  const failed = error instanceof FirewallError ? error.details.families : undefined;
  if (!Array.isArray(failed)) return false;
  return FAMILIES.some((family) => isWanted(plans, family) && !failed.includes(family));
}
