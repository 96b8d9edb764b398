/** `ipMasq`: what containers send to the world outside carries the host's address. Chooses how that is done. */

import { isInstalled } from "./tool.ts";

/** `ipMasqBackend`; null leaves the choice to what the host has. */
export type MasqueradeBackend = "nftables" | "iptables" | null;

/** The module that masquerades, loaded when it is needed. */
export async function loadMasquerading(backend: MasqueradeBackend) {
  return usesNft(backend) ? await import("./masquerade-nft.ts") : await import("./masquerade-iptables.ts");
}

/** True when rules are in tables of nftables, which are the network's own. */
export function usesNft(backend: MasqueradeBackend): boolean {
  return backend === "nftables" || (backend === null && isInstalled("nft"));
}

/** Reads a record's backend; what is none counts as not given. */
export function backendOf(value: unknown): MasqueradeBackend {
  return value === "nftables" || value === "iptables" ? value : null;
}
