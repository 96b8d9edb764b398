/** Which network the host is examined for: that of the store, else the one that the running daemon has joined. Pure. */

import type { FileNeed, KernelNeed } from "../../backends/backend.ts";
import { BACKEND_NEEDS, kernelNeedsOf } from "../../backends/registry.ts";
import { type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { AgentConfig } from "../config/config.ts";
import { fallbackConfig } from "../network/fallback-carrier.ts";
import { familiesOf } from "../network/network-support.ts";
import type { StatusReport } from "../report/status.ts";

/** What the network asks of the host. */
export interface KnownNetwork {
  /** Of every backend where the network is not known. */
  readonly needs: readonly (KernelNeed | FileNeed)[];
  readonly isNetworkKnown: boolean;
  readonly families: readonly Family[];
}

/** `network` is null where the store does not answer, or has no configuration that can be used. */
export function knownNetwork(
  network: NetworkConfig | null,
  config: Pick<AgentConfig, "fallback">,
  report: Pick<StatusReport, "network"> | null,
): KnownNetwork {
  if (network !== null) {
    const needs = waysOf(network, config).flatMap(kernelNeedsOf);
    return { needs, isNetworkKnown: true, families: familiesOf(network) };
  }
  if (report === null) return { needs: kernelNeedsOf(null), isNetworkKnown: false, families: [4] };
  const { backend, formerBackends = [], ranges } = report.network;
  const types = [backend, ...formerBackends, ...(config.fallback === "none" ? [] : [config.fallback])];
  return {
    needs: BACKEND_NEEDS.filter(({ type }) => types.includes(type)).flatMap(({ kernelNeeds }) => kernelNeeds),
    isNetworkKnown: true,
    families: [...new Set(ranges.map((range) => Prefix.parse(range).family))],
  };
}

/** The network, and the same with the fall-back's backend where this host is to have one. */
export function waysOf(
  network: NetworkConfig,
  { fallback }: Pick<AgentConfig, "fallback">,
): readonly NetworkConfig[] {
  return fallback === "none" ? [network] : [network, fallbackConfig(network)];
}
