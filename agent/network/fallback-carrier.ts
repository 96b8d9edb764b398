/** The second backend by which peers are reached while their tunnel fails: prepared beside the network's own. */

import type { HostFacts, PreparedBackend } from "../../backends/backend.ts";
import type { Fallback } from "../../backends/fallback.ts";
import { canStandSideBySide } from "../../backends/mixed.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import type { Diversions } from "../fallback/diversions.ts";
import { prepareForAnyHost } from "./network-support.ts";

export interface FallbackRequest {
  readonly config: NetworkConfig;
  /** Former backends of the network, which other hosts may still need. */
  readonly formers: readonly PreparedBackend[];
  readonly host: HostFacts;
  readonly diversions: Diversions;
  readonly logger: Logger;
  readonly prepare: (config: NetworkConfig) => Promise<PreparedBackend>;
}

/** The network with the fall-back's backend as its own. */
export function fallbackConfig(config: NetworkConfig): NetworkConfig {
  return { ...config, backend: { type: "udp", isExplicit: true, options: {} } };
}

/** Throws ConfigError where the network's backend allows no fall-back. */
export function requireFallback(config: NetworkConfig): void {
  const problem = fallbackProblem(config);
  if (problem === null) return;
  throw new ConfigError(`--fallback ${fallbackConfig(config).backend.type}: ${problem}; remove --fallback`);
}

/** Null while a former backend cannot run beside it. */
export async function prepareFallback(request: FallbackRequest): Promise<Fallback | null> {
  const { config, formers, host, diversions, logger, prepare } = request;
  const [candidate] = prepareForAnyHost(fallbackConfig(config)).parts;
  const rival = formers.find((former) => !canStandSideBySide(former, candidate, host));
  if (rival !== undefined) {
    logger.info("no fall-back while hosts need the former backend", { former: rival.type });
    return null;
  }
  const part = await prepare(fallbackConfig(config));
  return { part, isUsed: (peer, family) => diversions.has(peer, family) };
}

/** Why a network cannot have a fall-back, in one sentence; null when it can. */
export function fallbackProblem(config: NetworkConfig): string | null {
  const [present] = prepareForAnyHost(config).parts;
  const [candidate] = prepareForAnyHost(fallbackConfig(config)).parts;
  const { type } = present;
  if (Object.values(present.tunnels).some(({ isAuthenticated }) => isAuthenticated))
    return `the network's backend ${type} encrypts, and packets of the fall-back are not encrypted`;
  if (type === candidate.type) return `the network's backend is ${type} itself`;
  if (present.isCarriedByOthers) return `other programs carry the packets of the network's backend ${type}`;
  return null;
}
