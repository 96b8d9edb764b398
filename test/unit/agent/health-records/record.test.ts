/** The text form of a health record; any client of the store can write one. */

import { describe, expect, it } from "vitest";
import {
  type BadPath,
  decodeHealth,
  encodeHealth,
  healthRecordName,
  MOST_BYTES,
  parseHealthRecordName,
} from "../../../../agent/health-records/record.ts";
import { CodecError } from "../../../../ipam/errors.ts";

const NODE = "0123456789abcdef0123456789abcdef";
const path = (peer: string, cause = "host-down"): BadPath => ({ peer, cause, seen: "is down" });
const many = (count: number): BadPath[] =>
  Array.from({ length: count }, (_, index) => path(`10.${index >> 8}.${index & 255}.0-24`));
const record = (fields: object): string => JSON.stringify({ version: 1, bad: [], ...fields });

describe("a health record", () => {
  it("does not exist while all paths are good", () => {
    expect(encodeHealth([])).toBeNull();
  });

  it("reads what it writes", () => {
    const bad = [path("10.2.3.0-24"), path("10.2.3.0-24&fd00:2:3::-64", "tunnel-filtered")];
    expect(decodeHealth(encodeHealth(bad) ?? "")).toEqual({ bad, others: 0 });
  });

  it("only counts the paths of a host that is cut off", () => {
    const text = encodeHealth(many(5_000)) ?? "";
    const { bad, others } = decodeHealth(text);
    expect(bad.length + others).toBe(5_000);
    expect(text.length).toBeLessThan(MOST_BYTES / 2);
  });

  it("stays short whatever a cause says", () => {
    const seen = "\u202e\u0007".repeat(10_000);
    const text = encodeHealth(many(64).map((each) => ({ ...each, seen }))) ?? "";
    expect(text.length).toBeLessThan(MOST_BYTES);
    expect(decodeHealth(text).bad).toHaveLength(64);
  });

  it("shows text of others without characters that act", () => {
    const seen = "<script>\u001b[2J\u202e";
    const [shown] = decodeHealth(record({ bad: [{ ...path("10.2.3.0-24"), seen }] })).bad;
    expect(shown?.seen).toBe("<script>\\x1b[2J\\u202e");
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "[1]"],
    ["null", "null"],
    ["another version", record({ version: 2 })],
    ["no list", record({ bad: {} })],
    ["too many paths", record({ bad: many(257) })],
    ["too many bytes", record({ note: "x".repeat(MOST_BYTES) })],
    ["a path that is text", record({ bad: ["10.2.3.0-24"] })],
    ["a peer that is no lease", record({ bad: [path("<img src=x onerror=alert(1)>")] })],
    ["a cause with markup", record({ bad: [path("10.2.3.0-24", "<b>")] })],
    ["no sentence", record({ bad: [{ peer: "10.2.3.0-24", cause: "host-down" }] })],
    ["a negative count", record({ others: -1 })],
    ["a huge count", record({ others: 1e300 })],
    ["a prototype", '{"__proto__":{"version":1,"bad":[]}}'],
  ])("rejects %s", (_, text) => {
    expect(() => decodeHealth(text)).toThrow(CodecError);
  });

  it("is named by a node id alone", () => {
    expect(parseHealthRecordName(healthRecordName(NODE))).toBe(NODE);
    for (const name of [`health/${NODE}/x`, "health/", `health/${NODE.toUpperCase()}`, NODE, `names/${NODE}`])
      expect(parseHealthRecordName(name), name).toBeNull();
  });
});
