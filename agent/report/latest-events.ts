/** The last changes of state on this host: those of the daemon that runs, else what the last one kept. */

import { TulleError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { askControl } from "./control.ts";
import { readEvents } from "./event-log.ts";

interface Folders {
  readonly runDir: string;
  readonly stateDir: string;
}

/** The oldest first. Throws TULLE_CONTROL when neither a daemon answers nor one has kept anything. */
export async function latestEvents(
  { runDir, stateDir }: Folders,
  signal: AbortSignal,
): Promise<readonly JsonObject[]> {
  try {
    const answer = await askControl(runDir, "/events", signal);
    return Array.isArray(answer) ? answer.filter(isJsonObject) : [];
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    const kept = readEvents(stateDir);
    if (kept.length === 0) throw error;
    return kept;
  }
}
