import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { listenPrivately } from "../../../../agent/report/private-socket.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-socket-"));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("keeps as many connections waiting as are asked for, on a socket of mode 0600", async () => {
  const path = join(folder, "socket");
  const server = createServer();
  await listenPrivately(server, path, 2_000);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  // All of one turn of the event loop, in which the server accepts none.
  const sockets = Array.from({ length: 1_000 }, () => connect(path));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  for (const socket of sockets) socket.destroy();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
