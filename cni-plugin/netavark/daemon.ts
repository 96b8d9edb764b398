/**
 * Asks tulled, which knows the named networks: POST of JSON on a unix socket, answered with JSON within two seconds.
 *
 * The methods are those of agent/netavark/plugin-calls.ts.
 */

import { request } from "node:http";
import { join } from "node:path";
import { errorMessage } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";

/** podman waits meanwhile. tulled itself answers within 1.7 s, with the reason where it could not do more. */
const PATIENCE_MS = 2_000;

/** tulled's socket. */
export function socketPath(runDir: string): string {
  return join(runDir, "netavark.sock");
}

export type Method = "Network" | "Setup" | "Teardown";

/** Throws CniError 11 when tulled is away, and 100 with the reason that it gives. */
export async function askDaemon(runDir: string, method: Method, call: JsonObject): Promise<JsonObject> {
  const path = socketPath(runDir);
  let answer: unknown;
  try {
    answer = JSON.parse(await post(path, `/Netavark.${method}`, JSON.stringify(call)));
  } catch (cause) {
    throw new CniError(
      CNI_CODES.tryAgainLater,
      `tulled does not answer on ${path}: ${reasonOf(cause)}`,
      "start tulled on this host, and try again",
      { cause },
    );
  }
  if (!isJsonObject(answer))
    throw new CniError(
      CNI_CODES.decodingFailure,
      `tulled answers ${JSON.stringify(answer)} on ${path}: it may be of another version; restart it`,
    );
  const { Err: failure } = answer;
  if (typeof failure === "string" && failure !== "") throw new CniError(CNI_CODES.attachFailed, failure);
  return answer;
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError")
    return `nothing within ${PATIENCE_MS / 1000} s`;
  const code = error instanceof Error && "code" in error ? error.code : "";
  return code === "ENOENT" || code === "ECONNREFUSED" ? "it does not run" : errorMessage(error);
}

function post(socketPath: string, path: string, body: string): Promise<string> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  return new Promise((resolve, reject) => {
    // What ends an answer early, its time-out too, is an error of the answer.
    const fail = (error: unknown): void => reject(signal.aborted ? signal.reason : error);
    const outgoing = request({ socketPath, path, method: "POST", signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    });
    outgoing.on("error", fail);
    outgoing.end(body);
  });
}
