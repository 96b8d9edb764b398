/**
 * What a new network configuration in the store means for a running daemon. Pure.
 *
 * Options that change no lease and no address are applied under traffic; a move of the network waits for a restart.
 */

import { entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { errorMessage } from "../../ipam/errors.ts";
import type { Attachment } from "./attachment.ts";
import { optionsOf } from "./network-support.ts";

export interface ConfigNews {
  /** With the configuration in force. */
  readonly attachment: Pick<Attachment, "networkConfig" | "options">;
  readonly own: PerFamily<Prefix>;
  /** The newest valid one in the store; null before there is one. */
  readonly next: NetworkConfig | null;
  /** Why the newest one in the store is not valid; null when it is. */
  readonly invalid: string | null;
}

export interface ConfigJudgement {
  /** The configuration to apply now; null when it is in force or must not be applied. */
  readonly apply: NetworkConfig | null;
  /** Why the newest one is not applied. */
  readonly problem: string | null;
}

/** Whether and how the newest configuration is applied. */
export function judgeConfig({ attachment, own, next, invalid }: ConfigNews): ConfigJudgement {
  if (invalid !== null) return { apply: null, problem: invalid };
  if (next === null || next.text === attachment.networkConfig.text) return { apply: null, problem: null };
  try {
    const names = unsafeChanges(attachment, next, own);
    if (names.length === 0) return { apply: next, problem: null };
    const problem = `the network configuration in the store changed ${names.join(", ")}; this host keeps the one in force until its daemon is restarted`;
    return { apply: null, problem };
  } catch (error) {
    const problem = `the network configuration in the store is not applied: ${errorMessage(error)}`;
    return { apply: null, problem };
  }
}

/** Names of the settings that keep `next` from being applied now; empty when it may be. Throws as optionsOf does. */
function unsafeChanges(
  { networkConfig: inForce, options }: ConfigNews["attachment"],
  next: NetworkConfig,
  own: PerFamily<Prefix>,
): readonly string[] {
  const names: string[] = [];
  for (const family of [4, 6] as const) {
    const [before, after] = [inForce.families[family], next.families[family]];
    const suffix = family === 6 ? "IPv6" : "";
    if (before?.network.toString() !== after?.network.toString()) names.push(`${suffix}Network`);
    else if (before?.subnetLength !== after?.subnetLength) names.push(`${suffix}SubnetLen`);
  }
  for (const [family, subnet] of entriesOf(own)) {
    const range = next.families[family];
    if (range === undefined || names.length > 0) continue;
    const { base } = subnet;
    if (base.value < range.subnetMin.value) names.push(family === 6 ? "IPv6SubnetMin" : "SubnetMin");
    if (base.value > range.subnetMax.value) names.push(family === 6 ? "IPv6SubnetMax" : "SubnetMax");
  }
  if (next.backend.type !== inForce.backend.type) return [...names, "Backend.Type"];
  const differences = options.unsafeDifferences(optionsOf(next));
  return [...names, ...differences.map((name) => `Backend.${name}`)];
}
