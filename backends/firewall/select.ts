/** Chooses the firewall engine from what the administrator asks for and what the host has. */

import type { CommandRunner } from "./command.ts";
import type { EngineKind } from "./engine.ts";
import { FirewallError } from "./errors.ts";

export type FirewallChoice = "auto" | EngineKind | "none";

const PROGRAMS = {
  nft: ["nft"],
  iptables: ["iptables-save", "iptables-restore"],
} as const satisfies Record<EngineKind, readonly string[]>;

/** The engines whose programs this host has. */
export async function installedEngines(runner: CommandRunner): Promise<ReadonlySet<EngineKind>> {
  const installed = new Set<EngineKind>();
  for (const kind of ["nft", "iptables"] as const) {
    const answers = await Promise.all(PROGRAMS[kind].map((program) => runner.isInstalled(program)));
    if (answers.every(Boolean)) installed.add(kind);
  }
  return installed;
}

/**
 * The engine to use. `auto`: nft where the network configuration enables it, else iptables where present, else
 * nft. FirewallError with details.missing when the host has no engine, or not the one asked for.
 */
export function chooseEngine(
  choice: EngineKind | "auto",
  prefersNft: boolean,
  installed: ReadonlySet<EngineKind>,
): EngineKind {
  const order: readonly EngineKind[] =
    choice !== "auto" ? [choice] : prefersNft ? ["nft", "iptables"] : ["iptables", "nft"];
  const kind = order.find((candidate) => installed.has(candidate));
  if (kind !== undefined) return kind;
  throw new FirewallError(
    choice === "auto"
      ? "neither nft nor iptables is installed: install nftables, or run with --firewall none"
      : `--firewall ${choice}: ${PROGRAMS[choice].join(" or ")} is not installed; install it or use --firewall auto`,
    { details: { missing: choice === "auto" ? "nft" : choice, installed: [...installed] }, retryable: true },
  );
}
