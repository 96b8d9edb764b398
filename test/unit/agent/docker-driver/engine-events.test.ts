/** How often a Docker that is installed and does not run is looked for, and how soon it is seen when it starts. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { EngineClient } from "../../../../agent/docker-driver/engine-client.ts";
import { followEngine } from "../../../../agent/docker-driver/engine-events.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const MINUTE_MS = 60_000;

/** A follower of an engine whose socket is `file`, and which answers on those in `served`. */
function start(file: string | null = null) {
  const clock = new FakeClock();
  const facts = { file, served: new Set<string>(), looks: 0, connections: 0, follows: 0 };
  let hangUp = (): void => undefined;
  const engine = {
    socketFile: () => {
      facts.looks += 1;
      return facts.file;
    },
    async *events(_types: readonly string[], signal: AbortSignal, { onOpen }: { onOpen?: () => void }) {
      facts.connections += 1;
      if (facts.file === null || !facts.served.has(facts.file)) throw new Error("connect ECONNREFUSED");
      onOpen?.();
      await new Promise<void>((resolve) => {
        hangUp = resolve;
        signal.addEventListener("abort", () => resolve());
      });
      yield* [];
    },
  };
  const stop = new AbortController();
  const handlers = {
    onFollowed: () => {
      facts.follows += 1;
    },
    onNetwork: () => undefined,
    onContainer: () => undefined,
  };
  const running = followEngine({ engine, clock, logger: silentLogger }, () => 1, handlers, stop.signal);
  return {
    ...{ clock, facts },
    serve: (name: string) => {
      facts.file = name;
      facts.served.add(name);
    },
    hangUp: () => hangUp(),
    end: async () => {
      stop.abort();
      await running;
    },
  };
}

it("opens no connection without a socket, and looks at its file once a second", async () => {
  const { clock, facts, end } = start();
  await clock.advance(MINUTE_MS);
  expect(facts.connections).toBe(0);
  const before = facts.looks;
  await clock.advance(MINUTE_MS);
  expect(facts.connections).toBe(0);
  expect(facts.looks - before).toBe(60);
  await end();
});

it("follows an engine that starts within a second, however long it was away", async () => {
  const { clock, facts, serve, end } = start();
  await clock.advance(10 * MINUTE_MS);
  serve("a");
  await clock.advance(1_000);
  expect(facts.follows).toBe(1);
  await end();
});

it("follows an engine that restarts within a quarter of a second", async () => {
  const { clock, facts, serve, hangUp, end } = start();
  serve("a");
  await clock.advance(1_000);
  facts.file = null;
  hangUp();
  await clock.advance(2_000);
  const { connections } = facts;
  serve("b");
  await clock.advance(250);
  expect(facts).toMatchObject({ follows: 2, connections: connections + 1 });
  await end();
});

it("backs off from a socket that a killed engine left, and follows the next one within a second", async () => {
  const { clock, facts, serve, end } = start("stale");
  await clock.advance(10 * MINUTE_MS);
  const { connections } = facts;
  await clock.advance(MINUTE_MS);
  expect(facts.connections - connections).toBe(12);
  serve("b");
  await clock.advance(1_000);
  expect(facts.follows).toBe(1);
  await end();
});

it("tells a socket from the one that was there before", () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-engine-"));
  const path = join(folder, "docker.sock");
  const client = new EngineClient(path);
  try {
    expect(client.socketFile()).toBeNull();
    writeFileSync(path, "");
    const first = client.socketFile();
    expect(first).toBe(client.socketFile());
    writeFileSync(join(folder, "other"), "");
    rmSync(path);
    expect(client.socketFile()).toBeNull();
    writeFileSync(path, "");
    expect(client.socketFile()).not.toBe(first);
    expect(new EngineClient(join(path, "below")).socketFile()).toBeNull();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
