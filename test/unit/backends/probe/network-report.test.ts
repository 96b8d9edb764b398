import { describe, expect, it } from "vitest";
import { encodeEchoRequest } from "../../../../backends/probe/echo-message.ts";
import { decodeNetworkReport } from "../../../../backends/probe/network-report.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const ECHO = { id: 0x1234, sequence: 77, payload: Buffer.alloc(8) };
const V4_TARGET = Address.parse("10.2.54.0");
const V6_TARGET = Address.parse("fd00:2:0:36::");

/** A report of `type` and `code` with `rest` in its last word, about an echo request to the target. */
function report(family: 4 | 6, type: number, code: number, rest = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type, 0);
  header.writeUInt8(code, 1);
  header.writeUInt32BE(rest, 4);
  const ip = Buffer.alloc(family === 4 ? 20 : 40);
  if (family === 4) {
    ip.writeUInt8(0x45, 0);
    ip.writeUInt8(1, 9);
    ip.set(V4_TARGET.toBytes(), 16);
  } else {
    ip.writeUInt8(0x60, 0);
    ip.writeUInt8(58, 6);
    ip.set(V6_TARGET.toBytes(), 24);
  }
  return Buffer.concat([header, ip, encodeEchoRequest(family, ECHO)]);
}

describe("a report of the network", () => {
  it.each([
    [4, 3, 1, 0, "host unreachable"],
    [4, 3, 13, 0, "prohibited by an administrator"],
    [4, 3, 4, 1400, "packet too big, 1400 bytes pass"],
    [4, 3, 4, 0, "packet too big"],
    [4, 3, 99, 0, "unreachable (code 99)"],
    [4, 11, 0, 0, "time to live exceeded"],
    [6, 1, 0, 0, "no route"],
    [6, 1, 3, 0, "host unreachable"],
    [6, 2, 0, 1400, "packet too big, 1400 bytes pass"],
    [6, 3, 0, 0, "time to live exceeded"],
  ] as const)("IPv%i type %i code %i: %#", (family, type, code, rest, text) => {
    const target = family === 4 ? V4_TARGET : V6_TARGET;
    const decoded = decodeNetworkReport(family, report(family, type, code, rest));
    expect(decoded).toMatchObject({ id: 0x1234, sequence: 77, text });
    expect(decoded?.target.equals(target)).toBe(true);
  });

  it.each([4, 6] as const)("IPv%i: is none when it is cut anywhere, or about another protocol", (family) => {
    const whole = report(family, family === 4 ? 3 : 1, 1);
    for (let length = 0; length < whole.length - ECHO.payload.length; length++) {
      expect(decodeNetworkReport(family, whole.subarray(0, length))).toBeNull();
    }
    whole.writeUInt8(17, 8 + (family === 4 ? 9 : 6));
    expect(decodeNetworkReport(family, whole)).toBeNull();
  });

  it("is none for replies, and for an IPv4 header that claims an impossible length", () => {
    expect(decodeNetworkReport(4, report(4, 0, 0))).toBeNull();
    const short = report(4, 3, 1);
    short.writeUInt8(0x41, 8);
    expect(decodeNetworkReport(4, short)).toBeNull();
  });
});
