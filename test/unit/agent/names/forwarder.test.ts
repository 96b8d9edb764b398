import { createSocket, type Socket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { decode, encode } from "dns-packet";
import { afterEach, describe, expect, it } from "vitest";
import { Forwarder } from "../../../../agent/names/forwarder.ts";
import { type Query, readQuery } from "../../../../agent/names/message.ts";
import type { Upstream } from "../../../../agent/names/resolv-conf.ts";
import { systemClock } from "../../../../ipam/clock.ts";

type Reply = (query: Buffer) => readonly Buffer[] | Promise<readonly Buffer[]>;

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

interface FakeServer extends Upstream {
  readonly queries: Buffer[];
  readonly ports: number[];
}

/** Servers on one host are one to the forwarder. */
async function fakeServer(reply: Reply, host = "127.0.0.1"): Promise<FakeServer> {
  const socket = createSocket("udp4");
  const queries: Buffer[] = [];
  const ports: number[] = [];
  socket.on("message", async (query, source) => {
    queries.push(query);
    ports.push(source.port);
    const answers = await reply(query);
    // A late answer may find the test over.
    if (sockets.includes(socket))
      for (const answer of answers) socket.send(answer, source.port, source.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  sockets.push(socket);
  return { host, port: (socket.address() as AddressInfo).port, queries, ports };
}

function query(name = "Example.org"): Query {
  const read = readQuery(encode({ type: "query", id: 4711, questions: [{ name, type: "A" }] }));
  if (read.query === null) throw new Error("the query cannot be read");
  return read.query;
}

function answer(bytes: Buffer, address: string, flags = 0): Buffer {
  const { id = 0, questions = [] } = decode(bytes);
  const name = questions[0]?.name ?? "";
  const lower = questions.map((question) => ({ ...question, name: question.name.toLowerCase() }));
  const answers = flags === 0 ? [{ type: "A" as const, name, ttl: 60, data: address }] : [];
  return encode({ type: "response", id, flags, questions: lower, answers });
}

const good: Reply = (bytes) => [answer(bytes, "192.0.2.1")];
const silent: Reply = () => [];
const isSlow = (bytes: Buffer): boolean => decode(bytes).questions?.[0]?.name === "slow.test";
const rcode =
  (code: number): Reply =>
  (bytes) => [answer(bytes, "", code)];

const times = { stepMs: 100, totalMs: 400, suspectStepMs: 20, suspectMs: 10_000 };
/** For answers that must be in time on a busy machine too. */
const patient = { stepMs: 600, totalMs: 2_000, suspectStepMs: 200, suspectMs: 10_000 };
/** For answers that must not wait for a timer: such a wait outlasts the test. */
const unhurried = { stepMs: 60_000, totalMs: 60_000, suspectStepMs: 60_000, suspectMs: 60_000 };
const LIMITS = { total: 10, perClient: 5 };

function forwarder(upstreams: readonly Upstream[], limits = LIMITS, given = times): Forwarder {
  return new Forwarder({ clock: systemClock, upstreams: () => upstreams, times: given, limits });
}

async function ask(by: Forwarder, asked = query()): Promise<ReturnType<typeof decode> & { rcode?: string }> {
  return decode(await by.ask(asked, "udp", "10.0.0.1"));
}

describe("forwarding", () => {
  it("asks from a fresh port with a fresh id, and answers with the client's id and spelling", async () => {
    const server = await fakeServer(good);
    const by = forwarder([server]);
    for (let count = 0; count < 20; count++) {
      const packet = await ask(by);
      expect(packet).toMatchObject({ id: 4711, questions: [{ name: "Example.org" }] });
      expect(packet.answers).toMatchObject([{ data: "192.0.2.1" }]);
    }
    expect(new Set(server.queries.map((each) => each.readUInt16BE(0))).size).toBeGreaterThan(15);
    expect(new Set(server.ports).size).toBeGreaterThan(15);
    expect(by.open).toBe(0);
  });

  it("takes the next server when one fails, at once", async () => {
    const server = await fakeServer(good);
    for (const bad of [rcode(2), rcode(5), rcode(4)]) {
      const failing = await fakeServer(bad);
      expect((await ask(forwarder([failing, server], LIMITS, unhurried))).answers).toHaveLength(1);
      expect(failing.queries).toHaveLength(1);
    }
    const closed = await fakeServer(good);
    sockets.splice(sockets.length - 1, 1)[0]?.close();
    expect((await ask(forwarder([closed, server]))).answers).toHaveLength(1);
  });

  it("takes the next server after a silent one, and waits less for that one afterwards", async () => {
    const [mute, server] = [await fakeServer(silent, "127.0.0.2"), await fakeServer(good)];
    const slow = { ...times, stepMs: 2_000, totalMs: 10_000 };
    const by = forwarder([mute, server], LIMITS, slow);
    expect((await ask(by)).answers).toHaveLength(1);
    const startMs = systemClock.monotonicMs();
    expect((await ask(by)).answers).toHaveLength(1);
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(slow.stepMs);
  });

  it("asks the first server first, also after a question that it was silent to", async () => {
    const first = await fakeServer((bytes) => (isSlow(bytes) ? [] : good(bytes)), "127.0.0.2");
    const second = await fakeServer(rcode(3));
    const by = forwarder([first, second]);
    expect(await ask(by, query("slow.test"))).toMatchObject({ rcode: "NXDOMAIN" });
    // It may be the only one that knows the names of the site.
    expect((await ask(by, query("db.site.test"))).answers).toMatchObject([{ data: "192.0.2.1" }]);
    expect(second.queries).toHaveLength(1);
  });

  it("waits for a silent server as before once that has answered again", async () => {
    let delayMs = patient.totalMs;
    const first = await fakeServer(async (bytes) => {
      const [answered] = [good(bytes), await new Promise((resolve) => setTimeout(resolve, delayMs))];
      return answered;
    }, "127.0.0.2");
    const second = await fakeServer(rcode(3));
    const by = forwarder([first, second], LIMITS, patient);
    for (const [ms, answers] of [
      [patient.totalMs, 0],
      [patient.stepMs / 2, 0],
      [0, 1],
      [patient.stepMs / 2, 1],
    ] as const) {
      delayMs = ms;
      expect((await ask(by)).answers).toHaveLength(answers);
    }
  });

  it("asks a silent server again, because datagrams get lost", async () => {
    let count = 0;
    const server = await fakeServer((bytes) => {
      count += 1;
      return count === 3 ? good(bytes) : [];
    });
    expect((await ask(forwarder([server]))).answers).toHaveLength(1);
  });

  it("leaves the same time between questions to a silent server where there is no other", async () => {
    const arrivedMs: number[] = [];
    const server = await fakeServer(() => {
      arrivedMs.push(systemClock.monotonicMs());
      return [];
    });
    const by = forwarder([server]);
    await ask(by);
    await ask(by);
    expect(arrivedMs).toHaveLength(6);
    const [first = 0, second = 0] = arrivedMs.slice(3);
    expect(second - first).toBeGreaterThan(times.stepMs * 0.9);
  });

  it("passes NXDOMAIN on, and the last failure when all fail", async () => {
    expect(await ask(forwarder([await fakeServer(rcode(3))]))).toMatchObject({ rcode: "NXDOMAIN" });
    const failing = await fakeServer(rcode(5));
    expect(await ask(forwarder([failing]))).toMatchObject({ rcode: "REFUSED" });
    expect(failing.queries).toHaveLength(1);
  });

  it("takes errors without a question, as of a server that cannot read EDNS0", async () => {
    const headerAlone =
      (code: number): Reply =>
      (bytes) => {
        const header = answer(bytes, "", code).subarray(0, 12);
        header.fill(0, 4);
        return [header];
      };
    expect(await ask(forwarder([await fakeServer(headerAlone(1))]))).toMatchObject({
      rcode: "FORMERR",
      id: 4711,
    });
    const pair = [await fakeServer(headerAlone(5)), await fakeServer(good)];
    expect((await ask(forwarder(pair, LIMITS, unhurried))).answers).toHaveLength(1);
    // What denies a name must say which.
    expect(await ask(forwarder([await fakeServer(headerAlone(3))]))).toMatchObject({ rcode: "SERVFAIL" });
  });

  it("says SERVFAIL in time when nobody answers, and REFUSED when there is nobody to ask", async () => {
    const inTime = { ...unhurried, totalMs: 100 };
    expect(await ask(forwarder([await fakeServer(silent)], LIMITS, inTime))).toMatchObject({
      rcode: "SERVFAIL",
    });
    expect(await ask(forwarder([]))).toMatchObject({ rcode: "REFUSED", id: 4711 });
  });

  it("ignores answers with another id or to another question", async () => {
    const forging: Reply = (bytes) => {
      const otherId = answer(bytes, "203.0.113.66");
      otherId.writeUInt16BE((bytes.readUInt16BE(0) + 1) % 0x10000, 0);
      const otherName = answer(
        encode({ type: "query", id: bytes.readUInt16BE(0), questions: [{ name: "evil.test", type: "A" }] }),
        "203.0.113.66",
      );
      const otherType = answer(bytes, "203.0.113.66");
      otherType.writeUInt16BE(28, 12 + "example.org".length + 2);
      return [otherId, otherName, otherType, Buffer.from("x"), answer(bytes, "192.0.2.1")];
    };
    expect((await ask(forwarder([await fakeServer(forging)]))).answers).toMatchObject([
      { data: "192.0.2.1" },
    ]);
  });

  it("refuses what exceeds the limits of a client and of all, and takes queries again afterwards", async () => {
    const mute = await fakeServer(silent);
    const by = forwarder([mute], { total: 3, perClient: 2 });
    const open = ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map((client) =>
      by.ask(query(), "udp", client).then((bytes) => decode(bytes) as { rcode?: string }),
    );
    expect(by.open).toBe(3);
    const results = (await Promise.all(open)).map((packet) => packet.rcode);
    expect(results).toEqual(["SERVFAIL", "SERVFAIL", "REFUSED", "SERVFAIL", "REFUSED"]);
    expect(by.open).toBe(0);
  });
});
