/**
 * The name service alone, with a fixed view, and a resolver of the host for it at 127.0.0.53: started inside a network
 * namespace by tests.
 *
 * Arguments: the path of resolv.conf, and as JSON which networks (1 red, 2 blue) the clients are on, by address.
 */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import process from "node:process";
import { decode, encode, type Packet } from "dns-packet";
import { NameService } from "../../agent/names/name-service.ts";
import { frame, MessageReader } from "../../agent/names/tcp-frames.ts";
import { createLogger } from "../../agent/report/log.ts";
import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { systemClock } from "../../ipam/clock.ts";
import { Faults } from "../../ipam/faults.ts";
import { member, networkId, viewOf } from "./named-view.ts";

const [resolvConf = "", clientsText = "{}"] = process.argv.slice(2);
const clients = new Map(Object.entries(JSON.parse(clientsText) as Record<string, number[]>));
const crowd = Array.from({ length: 200 }, (_, index) => member([`c${index}`, "crowd"], `10.100.9.${index}`));
const many = Array.from({ length: 10_000 }, (_, index) =>
  member([`n${index}`], `10.100.${16 + (index >> 8)}.${index & 255}`),
);
const view = viewOf({
  red: [
    [member(["web", "www", "0123456789ab"], "10.100.0.2", "fd00::2")],
    [member(["db", "www"], "10.100.0.3"), ...crowd],
    many,
  ],
  blue: [[member(["web"], "10.101.0.2"), member(["secret"], "10.101.0.9")]],
});

/** Knows what ends in `.example`, denies the rest; `big.example` is too big for UDP. */
function upstreamAnswer(bytes: Buffer, transport: "udp" | "tcp"): Buffer {
  const { id = 0, questions = [] } = decode(bytes);
  const name = questions[0]?.name ?? "";
  const isKnown = name.toLowerCase().endsWith(".example");
  const isBig = name === "big.example";
  const count = !isKnown ? 0 : !isBig ? 1 : transport === "tcp" ? 100 : 0;
  const answer: Packet = {
    type: "response",
    id,
    flags: (isKnown ? 0 : 3) | (isBig && transport === "udp" ? 1 << 9 : 0),
    questions,
    answers: Array.from({ length: count }, (_, index) => ({
      type: "A",
      name,
      ttl: 60,
      data: `192.0.2.${index + 77}`,
    })),
  };
  return encode(answer);
}

const udp = createSocket("udp4");
udp.on("message", (message, source) => udp.send(upstreamAnswer(message, "udp"), source.port, source.address));
udp.bind(53, "127.0.0.53");
createServer((socket) => {
  const reader = new MessageReader((message) => socket.write(frame(upstreamAnswer(message, "tcp"))));
  socket.on("data", (bytes) => reader.push(bytes));
}).listen(53, "127.0.0.53");

const logger = createLogger({ level: "debug", format: "text", now: () => new Date() });
const service = new NameService({
  runtime: {
    clock: systemClock,
    random: Math.random,
    logger,
    faults: new Faults(logger),
    port: RtnetlinkPort.open(),
    netlink: NetlinkConnection.open(),
  },
  view: () => view,
  clients: {
    clientOf: (source) => {
      const networks = clients.get(source.toString());
      return networks === undefined ? null : { networks: networks.map(networkId) };
    },
  },
  resolvConf,
});
const stop = new AbortController();
process.on("SIGUSR1", () => process.stdout.write(`${JSON.stringify(service.status())}\n`));
await Promise.all([
  service.run(stop.signal),
  service.ready(stop.signal).then(() => process.stdout.write("ready\n")),
]);
