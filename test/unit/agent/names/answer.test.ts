import { decode, encode, type Question, RECURSION_DESIRED } from "dns-packet";
import { describe, expect, it } from "vitest";
import { answerFromView } from "../../../../agent/names/answer.ts";
import { encodeAnswer, type Query, readQuery } from "../../../../agent/names/message.ts";
import { member, networkId, viewOf } from "../../../support/named-view.ts";

const view = viewOf({
  red: [
    [member(["web", "www", "0123456789ab"], "10.100.0.2", "fd00::2"), member(["db.1"], "10.100.0.3")],
    [member(["shop_1", "www"], "10.100.0.4"), member(["six"], "fd00::6")],
  ],
  Blue: [[member(["web"], "10.101.0.2"), member(["secret"], "10.101.0.9")]],
});
const RED = networkId(1);
const BLUE = networkId(2);

function query(question: Question, options: { readonly udpPayloadSize?: number } = {}): Query {
  const bytes = encode({
    type: "query",
    id: 7,
    flags: RECURSION_DESIRED,
    questions: [question],
    additionals:
      options.udpPayloadSize === undefined
        ? []
        : [
            {
              type: "OPT",
              name: ".",
              udpPayloadSize: options.udpPayloadSize,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  });
  const read = readQuery(bytes);
  if (read.query === null) throw new Error("the query cannot be read");
  return read.query;
}

/** The library's types lack `ANY`. */
function ask(
  name: string,
  type: Question["type"] | "ANY" = "A",
  networks = [RED],
  turn = 0,
): string[] | null {
  const records = answerFromView(view, query({ name, type: type as Question["type"] }), { networks, turn });
  return records?.map((record) => ("data" in record ? String(record.data) : record.type)) ?? null;
}

describe("names of named networks", () => {
  it("are the container's name, its aliases and its short id, in any case", () => {
    for (const name of ["web", "WEB", "wEb", "0123456789ab", "web.red", "Web.RED"])
      expect(ask(name), name).toEqual(["10.100.0.2"]);
    expect(ask("db.1")).toEqual(["10.100.0.3"]);
    expect(ask("shop_1")).toEqual(["10.100.0.4"]);
  });

  it("are seen by containers of the same network, and by no others", () => {
    expect(ask("secret")).toBeNull();
    expect(ask("secret", "A", [BLUE])).toEqual(["10.101.0.9"]);
    expect(ask("web", "A", [BLUE])).toEqual(["10.101.0.2"]);
    expect(ask("web", "A", [])).toBeNull();
    expect(ask("web.blue")).toBeNull();
    expect(ask("web", "A", [RED, BLUE])).toEqual(["10.100.0.2", "10.101.0.2"]);
    expect(ask("web.blue", "A", [RED, BLUE])).toEqual(["10.101.0.2"]);
    expect(ask("web", "A", [networkId(99)])).toBeNull();
  });

  it("give all addresses of an alias, rotated", () => {
    expect(ask("www", "A", [RED], 0)).toEqual(["10.100.0.2", "10.100.0.4"]);
    expect(ask("www", "A", [RED], 1)).toEqual(["10.100.0.4", "10.100.0.2"]);
    expect(ask("www", "A", [RED], 2)).toEqual(["10.100.0.2", "10.100.0.4"]);
  });

  it("have an empty answer where there is no record of the type", () => {
    expect(ask("web", "AAAA")).toEqual(["fd00::2"]);
    expect(ask("db.1", "AAAA")).toEqual([]);
    expect(ask("six", "A")).toEqual([]);
    expect(ask("web", "MX")).toEqual([]);
    expect(ask("web", "ANY")).toEqual(["10.100.0.2", "fd00::2"]);
  });

  it("are never denied: an unknown name is another server's", () => {
    for (const name of ["unknown", "example.org", "web.example.org", "web.red.example.org", ".", "red"])
      expect(ask(name), name).toBeNull();
    const chaos = query({ name: "web", type: "TXT", class: "CH" });
    expect(answerFromView(view, chaos, { networks: [RED], turn: 0 })).toBeNull();
  });

  it("are found by address", () => {
    expect(ask("2.0.100.10.in-addr.arpa", "PTR")).toEqual(["web.red"]);
    expect(ask(`2.${"0.".repeat(29)}d.f.ip6.arpa`, "PTR")).toEqual(["web.red"]);
    expect(ask(`2.${"0.".repeat(28)}d.f.ip6.arpa`, "PTR")).toBeNull();
    expect(ask("2.0.100.10.in-addr.arpa", "A")).toEqual([]);
    expect(ask("2.0.101.10.in-addr.arpa", "PTR")).toBeNull();
    expect(ask("9.0.100.10.in-addr.arpa", "PTR")).toBeNull();
    expect(ask("0.100.10.in-addr.arpa", "PTR")).toBeNull();
    expect(ask("300.0.100.10.in-addr.arpa", "PTR")).toBeNull();
  });
});

describe("the name of an address", () => {
  const askName = (names: readonly string[], network: string): string[] | null => {
    const from = viewOf({ [network]: [[member(names, "10.100.0.2")]] });
    const asked = query({ name: "2.0.100.10.in-addr.arpa", type: "PTR" });
    const records = answerFromView(from, asked, { networks: [RED], turn: 0 });
    const [bytes] = [encodeAnswer(asked, records ?? [], "udp")];
    return (
      decode(bytes).answers?.map((record) => ("data" in record ? String(record.data) : record.type)) ?? null
    );
  };

  it("is one that the DNS can carry (RFC 1035): containers and networks have longer ones", () => {
    const [long, id] = ["project-service-run-".padEnd(64, "x"), "0123456789ab"];
    expect(askName([long, "web", id], "red")).toEqual(["web.red"]);
    expect(askName([long, id], "red")).toEqual([`${id}.red`]);
    expect(askName(["a..b", id], "red")).toEqual([`${id}.red`]);
    expect(askName(["web", id], "n".repeat(64))).toEqual(["web"]);
    expect(askName([`${"x".repeat(63)}.`.repeat(3).concat("web"), id], "n".repeat(60))).toEqual([
      `${id}.${"n".repeat(60)}`,
    ]);
    expect(askName([long], "red")).toEqual([]);
  });
});

describe("an answer on the wire", () => {
  const answer = (asked: Query, transport: "udp" | "tcp" = "udp", from = view) =>
    encodeAnswer(asked, answerFromView(from, asked, { networks: [RED], turn: 0 }) ?? [], transport);

  it("repeats id and question as they were written", () => {
    const packet = decode(answer(query({ name: "wEb", type: "A" })));
    expect(packet).toMatchObject({
      type: "response",
      id: 7,
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
      flag_tc: false,
      rcode: "NOERROR",
      questions: [{ name: "wEb", type: "A", class: "IN" }],
      answers: [{ name: "wEb", type: "A", ttl: 0, data: "10.100.0.2" }],
      additionals: [],
    });
  });

  it("has EDNS0 exactly when the query has", () => {
    const packet = decode(answer(query({ name: "web", type: "A" }, { udpPayloadSize: 4096 })));
    expect(packet.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1232 }]);
  });

  it("keeps to the size that the client takes, says so over UDP, and is whole over TCP", () => {
    const crowd = Array.from({ length: 100 }, (_, index) => member(["all"], `10.100.1.${index}`));
    const many = viewOf({ red: [crowd] });
    for (const [size, limit] of [
      [undefined, 512],
      [100, 512],
      [800, 800],
      [65_535, 1232],
    ] as const) {
      const asked = query({ name: "all", type: "A" }, size === undefined ? {} : { udpPayloadSize: size });
      const bytes = answer(asked, "udp", many);
      expect(bytes.length).toBeLessThanOrEqual(limit);
      expect(bytes.length).toBeGreaterThan(limit - 30);
      const packet = decode(bytes);
      expect(packet.flag_tc).toBe(true);
      expect(packet.answers?.length).toBeGreaterThan(20);
      const whole = decode(answer(asked, "tcp", many));
      expect([whole.flag_tc, whole.answers?.length]).toEqual([false, 100]);
    }
  });
});

describe("messages that are no queries", () => {
  const message = encode({ type: "query", id: 9, questions: [{ name: "web", type: "A" }] });

  it("are dropped when they are answers or too short", () => {
    const response = encode({ type: "response", id: 9, questions: [{ name: "web", type: "A" }] });
    expect(readQuery(response)).toEqual({ query: null, error: null });
    expect(readQuery(message.subarray(0, 11))).toEqual({ query: null, error: null });
    expect(readQuery(Buffer.alloc(0))).toEqual({ query: null, error: null });
  });

  it("are answered with FORMERR or NOTIMP", () => {
    const rcode = (bytes: Buffer) => {
      const read = readQuery(bytes);
      return read.query === null && read.error !== null ? decode(read.error) : null;
    };
    expect(rcode(message.subarray(0, message.length - 1))).toMatchObject({ id: 9, rcode: "FORMERR" });
    const two = Array.from({ length: 2 }, () => ({ name: "web", type: "A" as const }));
    expect(rcode(encode({ type: "query", id: 9, questions: two }))).toMatchObject({ rcode: "FORMERR" });
    expect(rcode(encode({ type: "query", id: 9 }))).toMatchObject({ rcode: "FORMERR" });
    const notify = Buffer.from(message);
    notify.writeUInt16BE(4 << 11, 2);
    expect(rcode(notify)).toMatchObject({ rcode: "NOTIMP", opcode: "NOTIFY" });
  });

  it("are answered with BADVERS for another version of EDNS, and with FORMERR for two OPT records", () => {
    const opt = (ednsVersion: number) => ({
      ...{ type: "OPT" as const, name: "." as const, udpPayloadSize: 4096, extendedRcode: 0 },
      ...{ ednsVersion, flags: 0, flag_do: false, options: [] },
    });
    const questions = [{ name: "wEb", type: "A" as const }];
    const error = (...additionals: ReturnType<typeof opt>[]) => {
      const read = readQuery(encode({ type: "query", id: 9, questions, additionals }));
      return read.query === null && read.error !== null ? decode(read.error) : null;
    };
    // The upper eight of twelve bits are in the OPT record (RFC 6891 §6.1.3): 16 is BADVERS (§9).
    expect(error(opt(1))).toMatchObject({
      ...{ type: "response", id: 9, rcode: "NOERROR", questions: [{ name: "wEb", type: "A" }] },
      additionals: [{ type: "OPT", extendedRcode: 1, ednsVersion: 0 }],
    });
    expect(error(opt(0), opt(0))).toMatchObject({ id: 9, rcode: "FORMERR" });
    expect(error(opt(0))).toBeNull();
  });
});
