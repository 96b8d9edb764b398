/** The version of dockerd, and what follows from it for IPv6. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";

/** `20.10.24+dfsg1` is { year: 20, month: 10 }. */
export interface EngineVersion {
  readonly year: number;
  readonly month: number;
}

/** Null when the program does not say. */
export type ReadVersion = (program: string) => Promise<EngineVersion | null>;

export interface MasqueradeSupport {
  /** Docker can masquerade IPv6 only with its experimental features. */
  readonly needsExperimental: boolean;
  readonly warnings: readonly string[];
}

const TIMEOUT_MS = 10_000;

/** Asks `dockerd --version`, which starts nothing. */
export async function readEngineVersion(program: string): Promise<EngineVersion | null> {
  try {
    const { stdout } = await promisify(execFile)(program, ["--version"], { timeout: TIMEOUT_MS });
    return parseEngineVersion(stdout);
  } catch {
    return null; // Docker is not installed yet, or something else starts it
  }
}

/** Reads `Docker version 20.10.24+dfsg1, build 5d6db84`. */
export function parseEngineVersion(text: string): EngineVersion | null {
  const [, year, month] = /\bversion (\d+)\.(\d+)\./.exec(text) ?? [];
  return year === undefined ? null : { year: Number(year), month: Number(month) };
}

/**
 * What dockerd needs to masquerade IPv6, where that is its task: `ip6tables` came with 20.10 as an experimental feature,
 * and is neither experimental nor off since 27.0 (moby/moby#41622, moby/moby#47747). An unknown version is a new one.
 */
export async function masqueradeSupport(
  { subnets, ipMasq }: SubnetEnv,
  program: string,
  readVersion: ReadVersion,
): Promise<MasqueradeSupport> {
  if (subnets[6] === undefined || ipMasq) return { needsExperimental: false, warnings: [] };
  const version = await readVersion(program);
  if (version === null || version.year >= 27) return { needsExperimental: false, warnings: [] };
  const name = `Docker ${version.year}.${version.month}`;
  const hasOption = version.year > 20 || (version.year === 20 && version.month >= 10);
  const warning = hasOption
    ? `${name} masquerades IPv6 only with ip6tables, an experimental feature: "experimental" is enabled; with "tulled --ip-masq" it need not be`
    : `${name} cannot masquerade IPv6, and tulled does not either: start tulled with --ip-masq`;
  return { needsExperimental: hasOption, warnings: [warning] };
}
