import { decode, encode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerFromView } from "../../../agent/names/answer.ts";
import { encodeAnswer, encodeError, isAnswerTo, readQuery } from "../../../agent/names/message.ts";
import { frame, MessageReader } from "../../../agent/names/tcp-frames.ts";
import { member, networkId, viewOf } from "../../support/named-view.ts";

const view = viewOf({
  red: [[member(["web", "www"], "10.100.0.2", "fd00::2"), member(["db"], "10.100.0.3")]],
});
const networks = [networkId(1)];

const names = fc.constantFrom(
  "web",
  "WEB",
  "www.red",
  "db",
  "x.example",
  "2.0.100.10.in-addr.arpa",
  ".",
  "arpa",
);
const queries = fc
  .record({ id: fc.nat(0xffff), name: names, type: fc.constantFrom("A", "AAAA", "PTR", "ANY", "TXT") })
  .map(({ id, name, type }) =>
    encode({ type: "query", id, questions: [{ name, type: type as "A" }], additionals: [] }),
  );

/** Queries with bytes changed, cut off and added, and bytes at random. */
const packets = fc.oneof(
  fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
  fc
    .record({
      query: queries,
      changes: fc.array(fc.record({ at: fc.nat(80), byte: fc.nat(255) }), { maxLength: 6 }),
      cut: fc.nat(80),
      tail: fc.uint8Array({ maxLength: 40 }),
    })
    .map(({ query, changes, cut, tail }) => {
      const bytes = Buffer.concat([query.subarray(0, query.length - (cut % query.length)), tail]);
      for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    }),
);

describe("any packet", () => {
  it("is dropped or gets an answer with its id that can be read, and never throws", () => {
    fc.assert(
      fc.property(packets, fc.nat(0xffff), (bytes, turn) => {
        const before = Buffer.from(bytes);
        const read = readQuery(bytes);
        if (read.query === null) {
          if (read.error !== null) expect(decode(read.error).id).toBe(bytes.readUInt16BE(0));
          return;
        }
        const records = answerFromView(view, read.query, { networks, turn });
        const answer =
          records === null ? encodeError(read.query, 5) : encodeAnswer(read.query, records, "udp");
        expect(answer.length).toBeLessThanOrEqual(1232);
        expect(decode(answer).answers).toHaveLength(records?.length ?? 0);
        expect(isAnswerTo(answer, bytes, read.query.questionEnd)).toBe(true);
        expect(bytes.equals(before)).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  it("is an answer to a query only with its id and its question", () => {
    fc.assert(
      fc.property(queries, packets, (query, packet) => {
        const read = readQuery(query);
        if (read.query === null) throw new Error("the query cannot be read");
        const { questionEnd } = read.query;
        if (!isAnswerTo(packet, query, questionEnd)) return;
        expect(packet.subarray(0, 2).equals(query.subarray(0, 2))).toBe(true);
        expect((packet[2] ?? 0) & 0x80).toBe(0x80);
      }),
      { numRuns: 5000 },
    );
  });

  it("is split from a stream wherever the pieces are cut", () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.nat(50)), (sent, cuts) => {
        const got: string[] = [];
        const reader = new MessageReader((message) => got.push(message.toString("hex")));
        let rest = Buffer.concat(sent.map((message) => frame(Buffer.from(message))));
        for (const cut of cuts) {
          reader.push(rest.subarray(0, cut));
          rest = rest.subarray(cut);
        }
        reader.push(rest);
        expect(got).toEqual(sent.map((message) => Buffer.from(message).toString("hex")));
      }),
    );
  });
});
