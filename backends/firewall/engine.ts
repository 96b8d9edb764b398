/** The seam between the guard and the tools that program the kernel's firewall. */

import type { FirewallPlans } from "./rules.ts";

export type EngineKind = "nft" | "iptables";

/** One way in which the kernel differed from the plan, as a sentence for the log. */
export type Drift = string;

/** Ends the sentence about an object of ours that no plan has. */
const UNPLANNED = " is not wanted";

export function unplanned(object: string): Drift {
  return `${object}${UNPLANNED}`;
}

/** The object of such a sentence, for a removal of everything: there no object has a plan. Other sentences as they are. */
export function unplannedObject(drift: Drift): string {
  return drift.endsWith(UNPLANNED) ? drift.slice(0, -UNPLANNED.length) : drift;
}

/**
 * Makes the kernel's firewall equal to plans. Tests check the contract for both engines:
 *  - reconcile compares everything that is ours: presence, order, duplicates, content; what is equal is not written;
 *  - each table changes in one transaction: no packet meets an incomplete chain;
 *  - foreign rules, and those of networks without a plan, are neither changed nor removed;
 *  - a failure of one family does not keep the other from its rules; `details.families` of the error lists those without;
 *  - one call at a time; failures are FirewallError.
 */
export interface FirewallEngine {
  readonly kind: EngineKind;
  /** Makes the kernel equal to `plans` and returns what differed. */
  reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]>;
  /** Removes the rules of all networks, with or without a plan, and returns what they were; `isDryRun` only returns. */
  remove(options?: RemoveOptions): Promise<readonly string[]>;
}

export interface RemoveOptions {
  readonly isDryRun?: boolean;
  /** Leaves alone what flanneld has under the same names: its chains for forwarding and masquerading. */
  readonly keepsFlannels?: boolean;
  readonly signal?: AbortSignal | undefined;
}
