/** `ipMasq`: what containers send to the world outside carries the host's address. Chooses how that is done. */

import { isInstalled } from "./tool.ts";

/** `ipMasqBackend`; null leaves the choice to what the host has. */
export type MasqueradeBackend = "nftables" | "iptables" | null;

/** The module that masquerades, loaded when it is needed. */
export async function loadMasquerading(backend: MasqueradeBackend) {
  const usesIptables = backend === "iptables" || (backend === null && !isInstalled("nft"));
  return usesIptables ? await import("./masquerade-iptables.ts") : await import("./masquerade-nft.ts");
}

/** Reads a record's backend; what is none counts as not given. */
export function backendOf(value: unknown): MasqueradeBackend {
  return value === "nftables" || value === "iptables" ? value : null;
}
