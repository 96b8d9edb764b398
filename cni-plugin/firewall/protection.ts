/** The firewall's part of an attachment, whichever options ask for it: taken back by DEL and GC, looked at by CHECK. */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { isGuarded, unguardPort } from "./mac-spoofing.ts";
import { backendOf, loadMasquerading, usesNft } from "./masquerade.ts";
import { removeEmptyTables, TABLE_FAMILIES } from "./nft.ts";

/** Whose rules, and which: `ipMasq` and `macspoofchk` of the delegate's configuration. */
export interface Protected {
  readonly networkName: string;
  readonly delegate: JsonObject;
  /** The host's end of the pair. */
  readonly port: string;
  readonly addresses: readonly Address[];
}

/** Takes the attachment's rules back; absent is a success. Throws CniError 100. */
export async function unprotect({ networkName, delegate, port, addresses }: Protected): Promise<void> {
  if (delegate.ipMasq === true) {
    const { stopMasquerading } = await loadMasquerading(backendOf(delegate.ipMasqBackend));
    stopMasquerading(networkName, addresses);
  }
  if (delegate.macspoofchk === true) unguardPort(networkName, port);
}

/** Takes back what the network's attachments had in common, when this was the last one. Throws CniError 100. */
export function unprotectNetwork({ networkName, delegate, addresses }: Protected): void {
  const { ipMasq, ipMasqBackend, macspoofchk } = delegate;
  const hasSets = ipMasq === true && usesNft(backendOf(ipMasqBackend));
  removeEmptyTables(networkName, [
    ...(hasSets ? new Set(addresses.map(({ family }) => TABLE_FAMILIES[family])) : []),
    ...(macspoofchk === true ? ["bridge"] : []),
  ]);
}

/** Every rule that is not as ADD made it, in words. */
export async function ruleDifferences(
  { networkName, delegate, port, addresses }: Protected,
  mac: string | undefined,
): Promise<readonly string[]> {
  const differences: string[] = [];
  if (delegate.ipMasq === true) {
    const { isMasquerading } = await loadMasquerading(backendOf(delegate.ipMasqBackend));
    if (!isMasquerading(networkName, addresses))
      differences.push(`${addresses.join(", ")} is not masqueraded`);
  }
  if (delegate.macspoofchk === true && mac !== undefined && !isGuarded(networkName, port, mac)) {
    differences.push(`${port} may send from other hardware addresses than ${mac}`);
  }
  return differences;
}
