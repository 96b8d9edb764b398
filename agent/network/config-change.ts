/**
 * What a new network configuration in the store means for a running daemon. Pure.
 *
 * Options that change no lease and no address are applied under traffic. A family that comes or goes makes the host join
 * again, with its subnet of the other family. A move of the network waits for a restart.
 */

import { entriesOf, FAMILIES, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { errorMessage } from "../../ipam/errors.ts";
import type { Attachment } from "./attachment.ts";
import { optionsOf, requireSupport } from "./network-support.ts";

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
  /** Whether it needs another lease: this host joins the network again. */
  readonly isRejoin: boolean;
  /** Why the newest one is not applied. */
  readonly problem: string | null;
}

/** Whether and how the newest configuration is applied. */
export function judgeConfig({ attachment, own, next, invalid }: ConfigNews): ConfigJudgement {
  const keep = (problem: string | null): ConfigJudgement => ({ apply: null, isRejoin: false, problem });
  if (invalid !== null) return keep(invalid);
  if (next === null || next.text === attachment.networkConfig.text) return keep(null);
  try {
    const names = unsafeChanges(attachment, next, own);
    const isRejoin = hasOtherFamilies(attachment.networkConfig, next);
    if (names.length === 0) return { apply: next, isRejoin, problem: null };
    requireSupport(next);
    return keep(
      `the network configuration in the store changed ${names.join(", ")}; this host keeps the one in force until its daemon is restarted`,
    );
  } catch (error) {
    return keep(
      `the network configuration in the store is not applied, and a daemon that is restarted ends with the same error: ${errorMessage(error)}`,
    );
  }
}

function hasOtherFamilies(inForce: NetworkConfig, next: NetworkConfig): boolean {
  return FAMILIES.some(
    (family) => (inForce.families[family] === undefined) !== (next.families[family] === undefined),
  );
}

/** Names of the settings that keep `next` from being applied now; empty when it may be. Throws as optionsOf does. */
function unsafeChanges(
  { networkConfig: inForce, options }: ConfigNews["attachment"],
  next: NetworkConfig,
  own: PerFamily<Prefix>,
): readonly string[] {
  const names: string[] = [];
  const isOneKept = FAMILIES.some((family) => inForce.families[family] && next.families[family]);
  for (const family of FAMILIES) {
    const [before, after] = [inForce.families[family], next.families[family]];
    // A family that comes or goes does not disturb the other one.
    if (isOneKept && (before === undefined || after === undefined)) continue;
    const prefix = family === 6 ? "IPv6" : "";
    if (before?.network.toString() !== after?.network.toString()) names.push(`${prefix}Network`);
    else if (before?.subnetLength !== after?.subnetLength) names.push(`${prefix}SubnetLen`);
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
