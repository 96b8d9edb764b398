/**
 * The ranges that this host's network had: the one in force and the one before.
 *
 * While a network moves to another range, its hosts switch one by one and must reach each other throughout. Kept in
 * <state-dir>/network.json, for other networks than the first in network-<name>.json.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { type Logger, silentLogger } from "../../ipam/log.ts";
import { type NetworkSettings, ownedName } from "./network-settings.ts";

/** Records the ranges in force and returns those before them, which may be none. Never rejects. */
export async function recordNetworks(
  { stateDir, name }: Pick<NetworkSettings, "stateDir" | "name">,
  inForce: readonly Prefix[],
  logger: Logger,
): Promise<readonly Prefix[]> {
  const path = join(stateDir, `${ownedName("network", name)}.json`);
  const known = readHistory(path, logger);
  const isSame = known.inForce.join() === inForce.join();
  if (isSame) return known.before;
  try {
    await replaceFile(path, `${JSON.stringify({ inForce, before: known.inForce }, null, 2)}\n`, {
      mode: 0o600,
    });
  } catch (error) {
    logger.warn("ranges of the network cannot be recorded", { path, error: errorMessage(error) });
  }
  return known.inForce;
}

/** All ranges that networks of this state directory recorded. A damaged record names none. */
export function readRecordedRanges(stateDir: string): readonly Prefix[] {
  return folderNames(stateDir)
    .filter((name) => /^network(-.+)?\.json$/.test(name))
    .map((name) => readHistory(join(stateDir, name), silentLogger))
    .flatMap(({ inForce, before }) => [...inForce, ...before]);
}

function folderNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // tulled never ran here with this directory
  }
}

interface History {
  readonly inForce: readonly Prefix[];
  readonly before: readonly Prefix[];
}

const NO_HISTORY: History = { inForce: [], before: [] };

function readHistory(path: string, logger: Logger): History {
  try {
    const text = readOwnFile(path);
    if (text === null) return NO_HISTORY;
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) throw new Error("it holds no JSON object");
    return { inForce: prefixes(value.inForce), before: prefixes(value.before) };
  } catch (error) {
    logger.warn("record of the network's ranges is ignored", { path, error: errorMessage(error) });
    return NO_HISTORY;
  }
}

function prefixes(value: unknown): readonly Prefix[] {
  if (!Array.isArray(value)) throw new Error("it holds no list of ranges");
  return value.map((text) => Prefix.parse(String(text)));
}
