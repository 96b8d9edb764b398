/**
 * The ranges that this host's network had: the one in force and the one before.
 *
 * While a network moves to another range its hosts change over one by one, and those that have must go on talking
 * with those that have not. Kept in <state-dir>/network.json.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { isJsonObject } from "../../ipam/json.ts";
import type { Logger } from "../../ipam/log.ts";
import { replaceFile } from "../host/durable-file.ts";

/** Takes note of the ranges in force and answers those before them, which may be none. Never rejects. */
export async function recordNetworks(
  stateDir: string,
  inForce: readonly Prefix[],
  logger: Logger,
): Promise<readonly Prefix[]> {
  const path = join(stateDir, "network.json");
  const known = await readHistory(path, logger);
  const isSame = known.inForce.join() === inForce.join();
  if (isSame) return known.before;
  try {
    await replaceFile(path, `${JSON.stringify({ inForce, before: known.inForce }, null, 2)}\n`, 0o600);
  } catch (error) {
    logger.warn("ranges of the network cannot be recorded", { path, error: errorMessage(error) });
  }
  return known.inForce;
}

interface History {
  readonly inForce: readonly Prefix[];
  readonly before: readonly Prefix[];
}

async function readHistory(path: string, logger: Logger): Promise<History> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (!isJsonObject(value)) throw new Error("it holds no JSON object");
    return { inForce: prefixes(value.inForce), before: prefixes(value.before) };
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (!isAbsent)
      logger.warn("record of the network's ranges is ignored", { path, error: errorMessage(error) });
    return { inForce: [], before: [] };
  }
}

function prefixes(value: unknown): readonly Prefix[] {
  if (!Array.isArray(value)) throw new Error("it holds no list of ranges");
  return value.map((text) => Prefix.parse(String(text)));
}
