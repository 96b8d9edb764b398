/** The seam between the guard and the tools that program the kernel's firewall. */

import type { FirewallPlan } from "./rules.ts";

export type EngineKind = "nft" | "iptables";

/** One way in which the kernel differed from the plan, as a sentence for the log. */
export type Drift = string;

/**
 * Makes the kernel's firewall equal to plans.
 *
 * Contract, checked for both engines by test/conformance:
 *  - reconcile compares everything that is ours: presence, order, duplicates, content; what is equal is not
 *    written again;
 *  - each table changes in one transaction: no packet ever meets half a chain;
 *  - nothing of anybody else's is removed or changed;
 *  - one call at a time; failures are FirewallError.
 */
export interface FirewallEngine {
  readonly kind: EngineKind;
  /** Makes the kernel equal to `plan` and answers what was wrong; empty when nothing was. */
  reconcile(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]>;
  /** Removes all that is ours and answers what that was; `isDryRun` only answers. */
  remove(options?: RemoveOptions): Promise<readonly string[]>;
}

export interface RemoveOptions {
  readonly isDryRun?: boolean;
  readonly signal?: AbortSignal | undefined;
}
