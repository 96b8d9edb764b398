/** Calls of a plugin socket, as dockerd makes them. */

import { type IncomingMessage, request } from "node:http";

export class PluginError extends Error {}

/** One call of a plugin method, as dockerd makes it. Rejects with PluginError for an answer with Err or Error. */
export async function callPlugin(
  socketPath: string,
  method: string,
  body: unknown,
): Promise<Record<string, unknown>> {
  const { status, text } = await post(socketPath, `/${method}`, JSON.stringify(body));
  const answer = JSON.parse(text) as Record<string, unknown>;
  const error = answer.Err ?? answer.Error;
  if (status !== 200 || (typeof error === "string" && error !== "")) throw new PluginError(String(error));
  return answer;
}

export function post(
  socketPath: string,
  path: string,
  body: string | Buffer,
  method = "POST",
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, method, agent: false }, (response) => {
      readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** The whole body of a request or an answer. */
export async function readText(stream: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
