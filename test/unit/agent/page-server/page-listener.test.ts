/** Where the page listens, when it cannot at first. Real sockets on loopback. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { PageListener } from "../../../../agent/page-server/page-listener.ts";
import { closeListener, listenAt } from "../../../../agent/report/listener.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { SOON } from "../../../support/patience.ts";

describe("the page's listener", () => {
  const servers: Server[] = [];
  const newServer = (): Server => {
    const server = createServer((_, response) => response.end());
    servers.push(server);
    return server;
  };
  afterEach(() => Promise.all(servers.splice(0).map(closeListener)));

  it("is opened as soon as another program has left the port", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const holder = newServer();
    const port = await listenAt(holder, "127.0.0.1", 0, "test");
    const server = newServer();
    const settings = { address: Address.parse("127.0.0.1"), port, tokenFile: null };
    const listener = new PageListener({ server, settings, clock, logger: silentLogger });
    await listener.open();
    expect(listener.problem).toMatch(
      /the page is not served, which is retried: ui 127.0.0.1 port \d+ .*EADDRINUSE/,
    );
    const opening = listener.keepOpening(stop.signal);
    for (let count = 0; count < 20; count += 1) await clock.advance(5_000);
    expect(server.listening).toBe(false);
    expect(server.listenerCount("error") + server.listenerCount("listening")).toBeLessThanOrEqual(2);
    await closeListener(holder);
    await expect
      .poll(async () => {
        await clock.advance(5_000);
        return listener.problem;
      }, SOON)
      .toBeNull();
    await opening;
    expect((server.address() as AddressInfo).port).toBe(port);
  });

  it("is given up with the daemon", async () => {
    const stop = new AbortController();
    // An address for documentation (RFC 5737), which no interface has.
    const settings = { address: Address.parse("192.0.2.1"), port: 8080, tokenFile: "/token" };
    const clock = new FakeClock();
    const listener = new PageListener({ server: newServer(), settings, clock, logger: silentLogger });
    await listener.open();
    expect(listener.problem).toContain("EADDRNOTAVAIL");
    const opening = listener.keepOpening(stop.signal);
    await clock.advance(0);
    stop.abort();
    await opening;
  });
});
