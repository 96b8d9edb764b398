/** The status of the daemon that runs, over its control socket. */

import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject } from "../../ipam/json.ts";
import { askControl } from "./control.ts";
import type { StatusReport } from "./status.ts";

/**
 * Asks the daemon behind <runDir>/tulled.sock for its status; null until it has joined its network. Throws TULLE_CONTROL,
 * TULLE_CODEC for an answer that is not a status, or what `signal` was aborted with by a person.
 */
export async function askStatus(runDir: string, signal: AbortSignal): Promise<StatusReport | null> {
  const answer = await askControl(runDir, "/status", signal);
  if (answer === null || isStatus(answer)) return answer;
  throw new CodecError("the daemon's answer is not a status: its version may differ; restart it");
}

/** Checks only that it is a report; a daemon of another version may say more or less in it. */
function isStatus(answer: unknown): answer is StatusReport {
  return isJsonObject(answer) && typeof answer.isReady === "boolean" && isJsonObject(answer.kernel);
}
