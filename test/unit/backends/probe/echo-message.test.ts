import { describe, expect, it } from "vitest";
import {
  checksum,
  decodeEchoReply,
  encodeEchoRequest,
  withoutIpv4Header,
} from "../../../../backends/probe/echo-message.ts";

describe("echo messages", () => {
  it("are requests as RFC 792 and RFC 4443 draw them", () => {
    const echo = { id: 0x1234, sequence: 2, payload: Buffer.from([0xab, 0xcd, 0xef]) };
    expect(encodeEchoRequest(4, echo).toString("hex")).toBe("08004afb12340002abcdef");
    expect(encodeEchoRequest(6, echo).toString("hex")).toBe("8000000012340002abcdef");
  });

  it("an IPv4 request has the checksum that makes its sum zero", () => {
    const request = encodeEchoRequest(4, { id: 7, sequence: 65_535, payload: Buffer.alloc(56, "x") });
    expect(checksum(request)).toBe(0);
  });

  it.each([
    [4, 0],
    [6, 129],
  ] as const)("replies of IPv%i are read", (family, type) => {
    const reply = Buffer.from([type, 0, 0, 0, 0x12, 0x34, 0xff, 0xff, 9]);
    expect(decodeEchoReply(family, reply)).toEqual({
      id: 0x1234,
      sequence: 65_535,
      payload: Buffer.from([9]),
    });
    for (const other of [3, 8, 11, 128]) {
      expect(decodeEchoReply(family, Buffer.from([other, ...reply.subarray(1)]))).toBeNull();
    }
    for (let length = 0; length < 8; length++)
      expect(decodeEchoReply(family, reply.subarray(0, length))).toBeNull();
  });

  it("an IPv4 header is taken off, with its options", () => {
    expect(withoutIpv4Header(Buffer.from([0x46, ...Array(23).fill(1), 0, 0]))).toEqual(Buffer.from([0, 0]));
    expect(withoutIpv4Header(Buffer.alloc(0))).toHaveLength(0);
  });
});
