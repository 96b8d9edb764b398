/** The subnet.env file: read with distrust, written so that a reader never sees half of it. */

import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { formatSubnetEnv, parseSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/folder.ts";
import type { Logger } from "../../ipam/log.ts";
import { replaceFile } from "../host/durable-file.ts";

/**
 * The subnets of the last run, null when there are none to go by: no file, one that is cut short, or one of
 * another network. Says so in the log.
 */
export async function readPreviousSubnets(
  path: string,
  config: NetworkConfig,
  logger: Logger,
): Promise<PerFamily<Prefix> | null> {
  try {
    const env = parseSubnetEnv(await readFile(path, "utf8"));
    if (isOfNetwork(env, config)) {
      return mapFamilies(env.subnets, ({ address, length }) => Prefix.of(address, length));
    }
    logger.warn("previous subnet is ignored because the file is of another network", { path });
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) {
      logger.warn("previous subnet is ignored because the file cannot be used", {
        path,
        error: errorMessage(error),
      });
    }
  }
  return null;
}

/** The file of a running daemon: written in turn, and what keeps it from being written is a problem to show. */
export class SubnetFile {
  readonly #path: string;
  readonly #logger: Logger;
  #turn: Promise<void> = Promise.resolve();
  #problem: string | null = null;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** Why it does not say what it should; null when it does. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Resolves once it is written, or cannot be. Never rejects. */
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

/** Writes the file, mode 0644, atomically and durably. Answers false when it holds this text already. */
export async function writeSubnetFile(path: string, env: SubnetEnv): Promise<boolean> {
  const text = formatSubnetEnv(env);
  if ((await readFile(path, "utf8").catch(() => null)) === text) return false;
  makeFolder(dirname(path), 0o755);
  await replaceFile(path, text, 0o644);
  return true;
}

function isOfNetwork(env: SubnetEnv, config: NetworkConfig): boolean {
  return Object.values(config.families).every(({ network }) =>
    env.networks[network.family]?.some((known) => known.equals(network)),
  );
}
