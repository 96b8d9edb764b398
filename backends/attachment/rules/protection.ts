/** The rules of an attachment, whichever of them its specification asks for: made, removed, compared. */

import type { Address } from "../../../ipam/addresses/ip.ts";
import type { Mac } from "../../../ipam/addresses/mac.ts";
import type { Allocation } from "../../../ipam/containers/ranges.ts";
import type { MasqueradeEngine, RuleSpec } from "../spec.ts";
import type { Undo } from "../undo.ts";
import { usesNft } from "./engine.ts";
import { removeEmptyTables, TABLE_FAMILIES } from "./nft.ts";
import { guardPort, isGuarded, unguardPort } from "./source-guard.ts";

export interface Protected {
  readonly network: string;
  readonly rules: RuleSpec;
  /** The host's end of the pair. */
  readonly port: string;
  readonly addresses: readonly Address[];
}

/** Makes the rules, each with its reversal. Throws FirewallError. */
export async function protect(
  request: Omit<Protected, "addresses"> & {
    readonly addresses: readonly Allocation[];
    readonly mac: Mac | null;
  },
  undo: Undo,
): Promise<void> {
  const { network, rules, port, addresses, mac } = request;
  if (rules.masquerade !== null) {
    const { engine, inside } = rules.masquerade;
    const { masquerade, stopMasquerading } = await loadMasquerading(engine);
    const plain = addresses.map(({ address }) => address.address);
    undo.push(() => stopMasquerading(network, plain));
    await masquerade(network, addresses, inside);
  }
  if (rules.guardsSource && mac !== null) {
    undo.push(() => unguardPort(network, port));
    await guardPort(network, port, mac);
  }
}

/** Removes the attachment's rules; absent is a success. Throws FirewallError. */
export async function unprotect({ network, rules, port, addresses }: Protected): Promise<void> {
  if (rules.masquerade !== null) {
    const { stopMasquerading } = await loadMasquerading(rules.masquerade.engine);
    await stopMasquerading(network, addresses);
  }
  if (rules.guardsSource) await unguardPort(network, port);
}

/** Removes what the network's attachments had in common, when the last one is gone. Throws FirewallError. */
export async function unprotectNetwork({
  network,
  rules,
  addresses,
}: Omit<Protected, "port">): Promise<void> {
  const hasSets = rules.masquerade !== null && (await usesNft(rules.masquerade.engine));
  await removeEmptyTables(network, [
    ...(hasSets ? new Set(addresses.map(({ family }) => TABLE_FAMILIES[family])) : []),
    ...(rules.guardsSource ? ["bridge"] : []),
  ]);
}

/** Every rule that differs from what protect() made, in words. */
export async function ruleDifferences(
  { network, rules, port, addresses }: Protected,
  mac: string | undefined,
): Promise<readonly string[]> {
  const differences: string[] = [];
  if (rules.masquerade !== null) {
    const { isMasquerading } = await loadMasquerading(rules.masquerade.engine);
    if (!(await isMasquerading(network, addresses)))
      differences.push(`${addresses.join(", ")} is not masqueraded`);
  }
  if (rules.guardsSource && mac !== undefined && !(await isGuarded(network, port, mac))) {
    differences.push(`${port} may send from other hardware addresses than ${mac}`);
  }
  return differences;
}

async function loadMasquerading(engine: MasqueradeEngine) {
  return (await usesNft(engine))
    ? await import("./masquerade-nft.ts")
    : await import("./masquerade-iptables.ts");
}
