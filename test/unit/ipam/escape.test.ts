import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  boundText,
  escapeJson,
  escapeText,
  formatJson,
  isPrintable,
  TEXT_LIMIT,
} from "../../../ipam/escape.ts";

/** Written apart from the product's rule: what the terminal standards and Unicode name. */
const HARMFUL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass
  /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

const anyText = fc.string({ unit: fc.integer({ min: 0, max: 0x2100 }).map((c) => String.fromCharCode(c)) });
const binary = fc.string({ unit: "binary" });

describe("escapeText", () => {
  test.each([
    ["10.2.54.0-24", "10.2.54.0-24"],
    ["ü 網 🌍 C:\\x", "ü 網 🌍 C:\\x"],
    ["a\u0000b", "a\\x00b"],
    ["a\nb\tc\rd", "a\\nb\\tc\\rd"],
    ["\u001b[31mred", "\\x1b[31mred"],
    ["\u009b31m\u007f", "\\x9b31m\\x7f"],
    ["\u202egpj.exe\u2069\u200e", "\\u202egpj.exe\\u2069\\u200e"],
    ["\u2028\u2029\ufeff", "\\u2028\\u2029\\ufeff"],
    ["\ud800x\udc00", "\\ud800x\\udc00"],
    ["\u{e0001}", "\\u{e0001}"],
  ])("%j becomes %j", (text, expected) => {
    expect(escapeText(text)).toBe(expected);
  });

  test("a long text keeps its start and its end, and says how much is left out", () => {
    const text = `lease ${"k".repeat(30_000)}: delete it`;
    const escaped = escapeText(text);
    expect(escaped).toMatch(/^lease k+…\(\d+ characters left out\)…k+: delete it$/);
    expect(escaped.length).toBeLessThanOrEqual(TEXT_LIMIT);
    const [, left = "0"] = /\((\d+) /.exec(escaped) ?? [];
    expect(escaped.replace(/…\(.*\)…/, "").length + Number(left)).toBe(text.length);
  });

  test("shows no harmful character and respects its limit, whatever it is given", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, binary), fc.integer({ min: 1, max: 60 }), (text, times) => {
        for (const limit of [40, TEXT_LIMIT, 4000]) {
          const escaped = escapeText(text.repeat(times), limit);
          expect(escaped).not.toMatch(HARMFUL);
          expect(escaped.length).toBeLessThanOrEqual(limit);
          expect(isPrintable(escaped)).toBe(true);
        }
      }),
    );
  });

  test("escaping twice changes nothing more", () => {
    fc.assert(
      fc.property(binary, (text) => {
        expect(escapeText(escapeText(text))).toBe(escapeText(text));
      }),
    );
  });

  test("megabytes of control characters are bounded as well", () => {
    expect(escapeText("\u0000".repeat(1 << 20)).length).toBeLessThanOrEqual(TEXT_LIMIT);
    expect(escapeText("🌍".repeat(1 << 18))).not.toMatch(HARMFUL);
  });
});

test("boundText shortens and escapes nothing", () => {
  expect(boundText("a\u0000b")).toBe("a\u0000b");
  expect(boundText("\u0000".repeat(1000)).length).toBeLessThanOrEqual(TEXT_LIMIT);
});

describe("formatJson", () => {
  test("reads back to the same value and holds no harmful character", () => {
    fc.assert(
      fc.property(fc.dictionary(binary, fc.oneof(anyText, binary)), (value) => {
        const json = formatJson(value, 2);
        expect(json.replaceAll("\n", "")).not.toMatch(HARMFUL);
        expect(JSON.parse(json)).toEqual(value);
      }),
    );
  });

  test("escapes as JSON does", () => {
    expect(formatJson(["\u009b\u202e\u{e0001}"])).toBe('["\\u009b\\u202e\\udb40\\udc01"]');
    expect(escapeJson('{\n"a": "\u007f"\n}')).toBe('{\n"a": "\\u007f"\n}');
  });
});
