/** The subnet.env file: validated when read, replaced atomically when written. */

import { dirname } from "node:path";
import { mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { formatSubnetEnv, parseSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { makeFolder, readOwnFile, replaceFile } from "../../ipam/files.ts";
import type { Logger } from "../../ipam/log.ts";

/**
 * The subnets of the last run; null without a file, with a damaged one and with one of another network. Logs why a
 * file is ignored.
 */
export function readPreviousSubnets(
  path: string,
  config: NetworkConfig,
  logger: Logger,
): PerFamily<Prefix> | null {
  try {
    const text = readOwnFile(path);
    if (text === null) return null;
    const env = parseSubnetEnv(text);
    if (isOfNetwork(env, config)) {
      return mapFamilies(env.subnets, ({ address, length }) => Prefix.of(address, length));
    }
    logger.warn("previous subnet is ignored because the file is of another network", { path });
  } catch (error) {
    logger.warn("previous subnet is ignored because the file cannot be used", {
      path,
      error: errorMessage(error),
    });
  }
  return null;
}

/** The file of a running daemon. Writes run one after another; a failed one is a problem to show. */
export class SubnetFile {
  readonly #path: string;
  readonly #logger: Logger;
  #turn: Promise<void> = Promise.resolve();
  #problem: string | null = null;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** Why the file lacks the present values; null when it has them. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves after the attempt. Never rejects. */
  write(env: SubnetEnv): Promise<void> {
    this.#turn = this.#turn.then(() => this.#writeNow(env));
    return this.#turn;
  }

  async #writeNow(env: SubnetEnv): Promise<void> {
    const path = this.#path;
    try {
      await writeSubnetFile(path, env);
      this.#problem = null;
    } catch (error) {
      this.#problem = `subnet file ${path} cannot be written, and containers get no network from it: ${errorMessage(error)}; put that right and send SIGHUP`;
      this.#logger.error("subnet file", { problem: this.#problem });
    }
  }
}

/** Writes the file, mode 0644, atomically and durably. Returns false when it holds this text already. */
export async function writeSubnetFile(path: string, env: SubnetEnv): Promise<boolean> {
  const text = formatSubnetEnv(env);
  if (readOwnFile(path) === text) return false;
  makeFolder(dirname(path), 0o755);
  await replaceFile(path, text, { mode: 0o644 });
  return true;
}

function isOfNetwork(env: SubnetEnv, config: NetworkConfig): boolean {
  return Object.values(config.families).every(({ network }) =>
    env.networks[network.family]?.some((known) => known.equals(network)),
  );
}
