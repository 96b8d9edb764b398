/** Sockets that are made again when their files are deleted. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  isAnswered,
  keepListening,
  listenPrivately,
  type SocketListener,
} from "../../../../agent/report/private-socket.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { makeFolder } from "../../../../ipam/files/folder.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "tulle-socket-"));
const path = join(folder, "run", "one.sock");
let listener: SocketListener | null = null;

afterEach(async () => {
  await listener?.close();
  listener = null;
  rmSync(folder, { recursive: true, force: true });
});

async function open(): Promise<SocketListener> {
  makeFolder(dirname(path), 0o755);
  const server = createServer((socket) => socket.destroy());
  await listenPrivately(server as never, path);
  return { close: () => new Promise((resolve) => server.close(() => resolve())) };
}

async function keep() {
  const logger = recordingLogger();
  const opening = vi.fn(open);
  listener = await keepListening(path, opening, new Faults(logger), 20);
  return { logger, opening };
}

describe("a socket that is kept", () => {
  it("is made again, with its folder, when it is deleted", async () => {
    const { logger, opening } = await keep();
    rmSync(dirname(path), { recursive: true });
    await vi.waitFor(async () => expect(await isAnswered(path)).toBe(true));
    expect(opening).toHaveBeenCalledTimes(2);
    expect(logger.lines).toEqual([]);
  });

  it("is made again once that is possible, and says once that it is not", async () => {
    const { logger } = await keep();
    rmSync(dirname(path), { recursive: true });
    writeFileSync(dirname(path), "in the way");
    await vi.waitFor(() => expect(logger.lines).toHaveLength(1));
    rmSync(dirname(path));
    await vi.waitFor(async () => expect(await isAnswered(path)).toBe(true));
  });

  it("leaves a file of another program in its place, and ends", async () => {
    const { opening } = await keep();
    rmSync(path);
    writeFileSync(path, "another program's");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(opening).toHaveBeenCalledTimes(1);
    await listener?.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(opening).toHaveBeenCalledTimes(1);
  });
});
