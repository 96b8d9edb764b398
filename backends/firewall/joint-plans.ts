/**
 * The plans of all networks of a host, each made with the tunnels of the others: the kernel delivers packets by UDP
 * port, so every network's rules also see the packets of each other network on that port.
 */

import { isDeepStrictEqual } from "node:util";
import { mapFamilies } from "../../ipam/addresses/ip.ts";
import type { FirewallGuard, FirewallStatus } from "./guard.ts";
import type { NetworkName } from "./names.ts";
import { planFirewall } from "./plan.ts";
import type { FirewallInput } from "./plan-input.ts";
import type { FirewallPlan } from "./rules.ts";

export class JointPlans {
  readonly #guard: Pick<FirewallGuard, "update" | "status" | "compareAll">;
  readonly #inputs = new Map<NetworkName, FirewallInput>();
  readonly #plans = new Map<NetworkName, FirewallPlan>();

  constructor(guard: Pick<FirewallGuard, "update" | "status" | "compareAll">) {
    this.#guard = guard;
  }

  /** Plans this network, and each other one whose rules depend on it. Resolves after a pass. Never rejects. */
  async update(network: NetworkName, input: FirewallInput): Promise<void> {
    this.#inputs.set(network, input);
    const passes = [...this.#inputs.keys()].map((each) => this.#plan(each, network));
    await Promise.all(passes);
  }

  /** For a network that stops: its rules stay, except the check of tunnel sources, whose list would become stale. */
  async leave(network: NetworkName): Promise<void> {
    const input = this.#inputs.get(network);
    if (input === undefined || Object.values(input.tunnels).every(({ sources }) => sources === "any")) return;
    const tunnels = mapFamilies(input.tunnels, (tunnel) => ({ ...tunnel, sources: "any" as const }));
    await this.update(network, { ...input, tunnels });
  }

  /** Has the kernel's rules listed and compared as a whole. */
  compareAll(): void {
    this.#guard.compareAll();
  }

  status(): FirewallStatus {
    return this.#guard.status();
  }

  async #plan(network: NetworkName, changed: NetworkName): Promise<void> {
    const input = this.#inputs.get(network);
    if (input === undefined) return;
    const beside = [...this.#inputs].filter(([name]) => name !== network).map(([, other]) => other);
    const plan = planFirewall({ ...input, beside });
    const before = this.#plans.get(network);
    if (network !== changed && isDeepStrictEqual(plan, before)) return;
    this.#plans.set(network, plan);
    const isRepeated = isDeepStrictEqual(plan.warnings, before?.warnings);
    await this.#guard.update(network, isRepeated ? { ...plan, warnings: [] } : plan);
  }
}
