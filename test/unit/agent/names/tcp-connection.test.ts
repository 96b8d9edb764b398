import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Connections, type Handler, SERVER_OPTIONS } from "../../../../agent/names/tcp-connection.ts";
import { frame, MessageReader } from "../../../../agent/names/tcp-frames.ts";

let server: Server | null = null;
afterEach(() => server?.close());

async function connected(handler: Handler): Promise<Socket> {
  return (await serve(handler))();
}

/** Returns what connects a client, from an address of the loopback interface. */
async function serve(handler: Handler): Promise<(localAddress?: string) => Socket> {
  const connections = new Connections(handler);
  const listening = createServer(SERVER_OPTIONS, (socket) => connections.take(socket));
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const address = listening.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return (localAddress = "127.0.0.1") => connect({ port: address.port, host: "127.0.0.1", localAddress });
}

/** The messages until the server ends the connection, or until there are `count`. */
function answers(client: Socket, count: number): Promise<readonly string[]> {
  return new Promise((resolve) => {
    const texts: string[] = [];
    const reader = new MessageReader((message) => {
      texts.push(message.toString());
      if (texts.length === count) resolve(texts);
    });
    client.on("data", (bytes) => reader.push(bytes));
    client.on("close", () => resolve(texts));
  });
}

function framed(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, n) => frame(Buffer.from(`question ${n}`))));
}

const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

describe("clients", () => {
  it("cannot keep others from their answers by the number of their connections", async () => {
    const connectFrom = await serve(async (message) => message);
    const many = Array.from({ length: 80 }, () => connectFrom("127.0.0.2"));
    let ended = 0;
    for (const client of many) {
      client.on("error", () => undefined);
      client.on("close", () => {
        ended += 1;
      });
    }
    await expect.poll(() => ended).toBe(16);
    const other = connectFrom("127.0.0.3");
    const got = answers(other, 1);
    other.write(framed(1));
    expect(await got).toEqual(["question 0"]);
    for (const client of [...many, other]) client.destroy();
  });
});

describe("a client's connection", () => {
  it("works on sixteen questions at a time, and answers all that come at once", async () => {
    let [open, most] = [0, 0];
    const client = await connected(async (message) => {
      open += 1;
      most = Math.max(most, open);
      await later();
      open -= 1;
      return message;
    });
    const got = answers(client, 200);
    client.write(framed(200));
    expect(new Set(await got).size).toBe(200);
    expect(most).toBe(16);
    client.destroy();
  });

  it("answers a client that has closed its half after its questions, and closes the other one", async () => {
    const client = await connected(async (message) => {
      await later();
      return message;
    });
    const got = answers(client, Number.POSITIVE_INFINITY);
    client.end(framed(40));
    expect(await got).toHaveLength(40);
  });

  it("ends with a message that gets no answer", async () => {
    const client = await connected(async () => null);
    const got = answers(client, Number.POSITIVE_INFINITY);
    client.write(framed(1));
    expect(await got).toEqual([]);
  });
});
