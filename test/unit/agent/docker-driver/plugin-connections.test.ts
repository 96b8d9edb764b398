/** Connections of the plugin socket: dockerd keeps them idle and may send its next call by one at any moment. */

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type PluginServer, servePlugin } from "../../../../agent/docker-driver/plugin-server.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";

/** Node ends an idle connection after 5 s, and up to another second later. */
const LONGER_THAN_NODES_DEFAULT_MS = 7_000;

let folder: string;
let server: PluginServer;
let connection: Socket;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tulle-plugin-"));
  server = await servePlugin({
    path: join(folder, "tulle.sock"),
    flag: "--docker-plugin-socket",
    methods: { "Plugin.Activate": () => ({ Implements: ["NetworkDriver"] }) },
    logger: silentLogger,
    faults: new Faults(silentLogger),
  });
  connection = createConnection(server.path);
  await once(connection, "connect");
});
afterEach(async () => {
  connection.destroy();
  await server.close();
  rmSync(folder, { recursive: true });
});

/** Sends a call by the connection. Returns the whole answer, or what came before the connection ended. */
async function call(): Promise<string> {
  connection.write("POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\nContent-Length: 2\r\n\r\n{}");
  let answer = "";
  const take = (chunk: Buffer): void => {
    answer += chunk.toString();
  };
  connection.on("data", take);
  const ended = once(connection, "close");
  while (!answer.includes("NetworkDriver") && !connection.destroyed)
    await Promise.race([once(connection, "data"), ended]);
  connection.off("data", take);
  return answer;
}

it("announce no end of an idle connection", async () => {
  const answer = await call();
  expect(answer).toContain("HTTP/1.1 200 OK");
  expect(answer).not.toMatch(/^keep-alive:/im);
  expect(answer).not.toMatch(/^connection: close/im);
});

it("serve a call by a connection that was idle for long", async () => {
  expect(await call()).toContain("HTTP/1.1 200 OK");
  await new Promise((resolve) => setTimeout(resolve, LONGER_THAN_NODES_DEFAULT_MS));
  expect(connection.destroyed).toBe(false);
  expect(await call()).toContain("HTTP/1.1 200 OK");
});
