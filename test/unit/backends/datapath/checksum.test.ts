import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileSum, complement, fold, sumInJavaScript } from "../../../../backends/datapath/checksum.ts";

const memory = new WebAssembly.Memory({ initial: 3, maximum: 3 });
const bytes = new Uint8Array(memory.buffer);
const sum = compileSum(memory);

describe("the Internet checksum", () => {
  it("is that of the example in RFC 1071 §3, in the machine's byte order", () => {
    bytes.set([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    expect(sum(0, 8)).toBe(0xf2dd);
    expect(complement(sum(0, 8))).toBe(0x0d22);
  });

  it("is the same in WebAssembly as in JavaScript, for any bytes, offset and length", () => {
    const slow = sumInJavaScript(memory);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.nat(64), (data, offset) => {
        bytes.set(data, offset);
        expect(sum(offset, data.length)).toBe(slow(offset, data.length));
      }),
    );
  });

  it("does not overflow on the largest packet", () => {
    bytes.fill(0xff);
    expect(sum(1, 65_535)).toBe(sumInJavaScript(memory)(1, 65_535));
  });

  it("adds up from parts", () => {
    bytes.set(Uint8Array.from({ length: 100 }, (_, at) => at * 7));
    expect(fold(sum(0, 40) + sum(40, 60))).toBe(sum(0, 100));
  });
});
