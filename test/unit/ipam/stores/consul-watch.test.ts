/** How a watch reads Consul's index, against a server whose answers the test writes. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../../../ipam/clock.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { openConsulStore } from "../../../../ipam/stores/consul/store.ts";
import { WatchLog } from "../../../support/watch-log.ts";

const environment = { log: silentLogger, clock: systemClock, random: () => 0, dateMs: () => 0 };

/** What the folder of leases answers at each read; the last one is held for ever. */
interface Answer {
  readonly index: number;
  readonly keys: Readonly<Record<string, number>>;
  readonly knowsLeader?: boolean;
}

describe("a watch of Consul", () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function watch(answers: readonly Answer[]) {
    const queries: URLSearchParams[] = [];
    const rest = [...answers];
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://consul.test");
      if (!url.pathname.endsWith("subnets%2F")) return config(request, response);
      queries.push(url.searchParams);
      const answer = rest.shift();
      if (answer) reply(response, answer);
    });
    server.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const addresses = [`127.0.0.1:${(server.address() as AddressInfo).port}`];
    const connection = openConsulStore({ addresses }, environment);
    const watched = new WatchLog(connection.network("net"));
    cleanups.push(async () => {
      server.closeAllConnections();
      server.close();
    });
    cleanups.push(() => connection.close());
    cleanups.push(() => watched.stop());
    await expect.poll(() => rest.length).toBe(0);
    return { queries, watched };
  }
  const types = (watched: WatchLog) => watched.messages.map(({ type }) => type);

  it("lists from the leader, then waits with the index of the last reply at any server", async () => {
    const { queries, watched } = await watch([
      { index: 7, keys: { a: 7 } },
      { index: 9, keys: { a: 7, b: 9 } },
    ]);
    await expect.poll(() => queries.length).toBe(3);
    expect(queries.map((query) => [query.get("index"), query.has("stale")])).toEqual([
      [null, false],
      ["7", true],
      ["9", true],
    ]);
    expect(watched.messages[1]).toMatchObject({
      revision: 9n,
      changes: [{ type: "put", entry: { key: "b", revision: 9n } }],
    });
  });

  it("tells deletions first, then puts in the order of the index", async () => {
    const { watched } = await watch([
      { index: 5, keys: { a: 3, b: 4, c: 5 } },
      { index: 9, keys: { b: 9, c: 8, d: 7 } },
    ]);
    await expect.poll(() => types(watched)).toEqual(["list", "changes"]);
    const changes = watched.messages[1]?.type === "changes" ? watched.messages[1].changes : [];
    expect(changes.map((change) => (change.type === "put" ? change.entry.key : change.type))).toEqual([
      "delete",
      "d",
      "c",
      "b",
    ]);
  });

  it("an index of zero is asked as one", async () => {
    const { queries } = await watch([{ index: 0, keys: { a: 1 } }]);
    await expect.poll(() => queries.length).toBe(2);
    expect(queries[1]?.get("index")).toBe("1");
  });

  it("an index that goes back is a gap: everything is listed again", async () => {
    const { watched } = await watch([
      { index: 9, keys: { a: 9 } },
      { index: 4, keys: { b: 3 } },
      { index: 4, keys: { b: 3 } },
    ]);
    await expect.poll(() => types(watched)).toEqual(["list", "list"]);
    expect(watched.leases).toEqual({ b: "x" });
  });

  it("ignores the answer of a server without a leader", async () => {
    const { queries, watched } = await watch([
      { index: 9, keys: { a: 9 } },
      { index: 10, keys: {}, knowsLeader: false },
      { index: 9, keys: { a: 9 } },
    ]);
    await expect.poll(() => types(watched), { timeout: 3_000 }).toEqual(["list", "list"]);
    expect(queries[2]?.get("index")).toBeNull();
  });
});

/** The network has no configuration, and never gets one. */
function config(request: IncomingMessage, response: ServerResponse): void {
  if (request.url?.includes("index=")) return;
  response.writeHead(404, { "X-Consul-Index": "1" }).end();
}

function reply(response: ServerResponse, { index, keys, knowsLeader = true }: Answer): void {
  const items = Object.entries(keys).map(([name, revision]) => ({
    Key: `net/subnets/${name}`,
    Value: Buffer.from("x").toString("base64"),
    CreateIndex: revision,
    ModifyIndex: revision,
  }));
  response.setHeader("X-Consul-Index", String(index));
  response.setHeader("X-Consul-KnownLeader", String(knowsLeader));
  response.setHeader("Content-Type", "application/json");
  response.writeHead(items.length === 0 ? 404 : 200).end(items.length === 0 ? "" : JSON.stringify(items));
}
