/** The subnet.env file: validated when read, replaced atomically when written. */

import { dirname } from "node:path";
import { compactPerFamily, entriesOf, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
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
    const subnets = subnetsIn(env, config);
    if (subnets !== null) return subnets;
    logger.warn("previous subnet is ignored because the file is of another network", { path });
  } catch (error) {
    logger.warn("previous subnet is ignored because the file cannot be used", {
      path,
      error: errorMessage(error),
    });
  }
  return null;
}

/** The file's text; null when there is none. Throws ConflictError when it is not a regular file. */
export function readSubnetText(path: string): string | null {
  return readOwnFile(path);
}

/** Writes the file, mode 0644, atomically and durably, and its folder. Throws what the file system throws. */
export async function writeSubnetText(path: string, text: string): Promise<void> {
  makeFolder(dirname(path), 0o755);
  await replaceFile(path, text, { mode: 0o644 });
}

/** The subnets of the families that are as they were; null when there is none. */
function subnetsIn(env: SubnetEnv, { families }: NetworkConfig): PerFamily<Prefix> | null {
  const subnets = compactPerFamily((family) => {
    const isSame = env.networks[family]?.some((known) => families[family]?.network.equals(known)) ?? false;
    const subnet = env.subnets[family];
    return isSame && subnet !== undefined ? Prefix.of(subnet.address, subnet.length) : undefined;
  });
  return entriesOf(subnets).length === 0 ? null : subnets;
}
