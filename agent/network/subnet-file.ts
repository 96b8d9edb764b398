/** The subnet.env file: validated when read, replaced atomically when written. */

import { dirname } from "node:path";
import { compactPerFamily, entriesOf, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { mayBeLeased, type NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseSubnetRanges, type SubnetRanges } from "../../ipam/config/subnet-env.ts";
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
    const subnets = subnetsIn(parseSubnetRanges(text), config);
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

/** The subnets that this network can have leased, now or before its range changed; null when there is none. */
function subnetsIn(
  { networks, subnets }: SubnetRanges,
  { families }: NetworkConfig,
): PerFamily<Prefix> | null {
  const own = compactPerFamily((family) => {
    const [network, found] = [families[family]?.network, subnets[family]];
    if (network === undefined || found === undefined) return undefined;
    const subnet = Prefix.of(found.address, found.length);
    const isOfOther = networks[family]?.every((known) => !known.overlaps(network)) ?? false;
    return !isOfOther && mayBeLeased(subnet, network) ? subnet : undefined;
  });
  return entriesOf(own).length === 0 ? null : own;
}
