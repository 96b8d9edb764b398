/** A thousand readers, and those that do not read. Real sockets on loopback. */

import { createServer, get, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventOf, type OtherEvents, Watchers } from "../../../../agent/page-server/watchers.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { SOON } from "../../../support/patience.ts";

const MOST_WATCHERS = 1_000;
const LARGE = "x".repeat(4 << 20);
const others = (json: string): OtherEvents => ({
  all: () => eventOf("all", json),
  sign: () => eventOf("sign", "0"),
});

describe("watchers of the page", () => {
  let clock: FakeClock;
  let watchers: Watchers;
  let server: Server;
  let clients: IncomingMessage[];
  let first: Buffer;
  beforeEach(async () => {
    clock = new FakeClock();
    watchers = new Watchers(clock, MOST_WATCHERS);
    clients = [];
    first = eventOf("all", '"first"');
    server = createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (!watchers.add(response, first)) response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    watchers.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  /** Does not read until it is told to. */
  const connect = (): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const { port } = server.address() as AddressInfo;
      get({ port, host: "127.0.0.1", agent: false }, (response) => {
        response.on("error", () => undefined);
        clients.push(response);
        resolve(response);
      }).on("error", reject);
    });
  const read = (client: IncomingMessage): { text: string } => {
    const seen = { text: "" };
    client.on("data", (chunk: Buffer) => {
      seen.text += chunk.toString();
    });
    return seen;
  };

  it("get the whole state, then what changes", async () => {
    const seen = read(await connect());
    await expect.poll(() => watchers.count, SOON).toBe(1);
    await watchers.publish(eventOf("update", "1"), others("2"));
    await watchers.publish(null, others("3"));
    await expect.poll(() => seen.text, SOON).toBe('event: all\ndata: "first"\n\nevent: update\ndata: 1\n\n');
  });

  // Bun's client reads ahead, whatever its caller does.
  it.skipIf(process.versions.bun)(
    "that do not read cost nothing more, and get the whole state when they do",
    async () => {
      first = eventOf("all", JSON.stringify(LARGE));
      const slow = await connect();
      first = eventOf("all", '"first"');
      const quick = read(await connect());
      await expect.poll(() => watchers.count, SOON).toBe(2);
      for (let count = 0; count < 100; count += 1) {
        await watchers.publish(eventOf("update", String(count)), others(`"late ${count}"`));
        await expect.poll(() => quick.text, SOON).toContain(`data: ${count}\n`);
      }
      const seen = read(slow);
      await expect.poll(() => seen.text.length, SOON).toBeGreaterThan(LARGE.length);
      await expect
        .poll(async () => {
          await watchers.publish(eventOf("update", "100"), others('"whole"'));
          return seen.text.slice(LARGE.length);
        }, SOON)
        .toContain('event: all\ndata: "whole"');
      expect(seen.text).not.toContain("data: 50\n");
    },
  );

  it("that read nothing for a minute are cut off", async () => {
    first = eventOf("all", JSON.stringify(LARGE.repeat(4)));
    await connect();
    await expect.poll(() => watchers.count, SOON).toBe(1);
    await watchers.publish(null, others('"first"'));
    await clock.advance(61_000);
    await watchers.publish(null, others('"first"'));
    await expect.poll(() => watchers.count, SOON).toBe(0);
  });

  it("hear something in a quiet stream", async () => {
    const seen = read(await connect());
    await expect.poll(() => seen.text, SOON).toContain("first");
    await clock.advance(5_000);
    await watchers.publish(null, others('"first"'));
    // An event: scripts see no comments.
    await expect.poll(() => seen.text, SOON).toContain("event: sign\ndata: 0\n\n");
  });

  it("are a thousand at most", async () => {
    const seen = await Promise.all(Array.from({ length: MOST_WATCHERS }, async () => read(await connect())));
    expect(watchers.count).toBe(MOST_WATCHERS);
    const last = await connect();
    last.resume();
    await expect.poll(() => last.complete, SOON).toBe(true);
    await expect
      .poll(async () => {
        await watchers.publish(eventOf("update", "7"), others('"first"'));
        return seen.filter(({ text }) => text.includes("data: 7\n")).length;
      }, SOON)
      .toBe(MOST_WATCHERS);
  });
});
