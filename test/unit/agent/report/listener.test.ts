/** What one client can make a listener of the daemon hold. Real sockets. */

import { get, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeListener, createListener, text } from "../../../../agent/report/listener.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { SOON } from "../../../support/patience.ts";

const BODY = "x".repeat(100_000);

describe("a listener", () => {
  let server: Server;
  let port: number;
  let answers: number;
  let clients: Socket[];
  beforeEach(async () => {
    answers = 0;
    clients = [];
    const answer = (path: string) => {
      answers += 1;
      if (path === "/fails") throw new Error("no\u0007 luck");
      return text(200, BODY);
    };
    server = createListener({ part: "the test", faults: new Faults(silentLogger), answer });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    await closeListener(server);
  });

  const open = (): Socket => {
    const client = connect(port, "127.0.0.1");
    client.on("error", () => undefined);
    clients.push(client);
    return client;
  };
  const fetch = (path = "/"): Promise<{ status: number; body: string }> =>
    new Promise((resolve, reject) => {
      get({ port, host: "127.0.0.1", path, agent: false }, (response) => {
        let body = "";
        response.on("data", (part) => {
          body += part;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      }).on("error", reject);
    });

  // Bun takes the next request of a connection only when the answer before it has been read.
  it.skipIf(process.versions.bun)(
    "answers one request at a time and ends a connection that sends more ahead",
    async () => {
      for (let one = 0; one < 20; one++) open().write("GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3000));
      const connections = () =>
        new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
      await expect.poll(() => answers, SOON).toBe(20);
      await expect.poll(connections, SOON).toBe(0);
      expect(answers).toBe(20);
      expect((await fetch()).body).toBe(BODY);
    },
  );

  it("serves connection after connection, twenty at once, and one that is kept open", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => fetch()));
    expect(all.every(({ body }) => body === BODY)).toBe(true);
    const client = open();
    for (let time = 0; time < 3; time++) {
      client.write("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
      const head = await new Promise<string>((resolve) => client.once("data", (part) => resolve(`${part}`)));
      expect(head).toContain("HTTP/1.1 200");
      expect(head).toContain(`content-length: ${BODY.length}`);
    }
  });

  it("holds no more connections than its limit", async () => {
    const many = Array.from({ length: 200 }, open);
    await Promise.all(many.map((client) => new Promise((resolve) => client.once("connect", resolve))));
    await expect.poll(() => many.filter(({ destroyed }) => !destroyed).length, SOON).toBeLessThanOrEqual(64);
  });

  it("cuts off a client that does not read, and one that does not send", async () => {
    await closeListener(server);
    const limits = { connections: 4, headerBytes: 8192, requestMs: 100, idleMs: 5_000, answerMs: 100 };
    const answer = () => text(200, "x".repeat(32 << 20));
    server = createListener({ part: "the test", faults: new Faults(silentLogger), answer }, limits);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
    let accepted = 0;
    server.on("connection", () => {
      accepted += 1;
    });
    const [reader, sender] = [open(), open()];
    reader.pause();
    reader.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    sender.write("GET / HTTP/1.1\r\n");
    const connections = () =>
      new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    await expect.poll(() => accepted, SOON).toBe(2);
    await expect.poll(connections, SOON).toBe(0);
  });

  it("rejects headers that are too long, other methods, and survives an error of its own", async () => {
    const client = open();
    client.write(`GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(20_000)}\r\n\r\n`);
    const refusal = await new Promise<string>((resolve) => client.once("data", (part) => resolve(`${part}`)));
    expect(refusal).toContain("431");
    expect(await fetch("/fails")).toEqual({ status: 500, body: "no\\x07 luck\n" });
    expect((await fetch()).status).toBe(200);
  });
});
