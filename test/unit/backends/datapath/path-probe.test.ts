/** Probes between data paths: their form, and which answers count. */

import { expect, it } from "vitest";
import { decodePathProbe, encodeRequest } from "../../../../backends/datapath/path-probe.ts";
import { PathProbes } from "../../../../backends/datapath/path-probes.ts";

const NONCE = "00112233445566ff";

it("is answered with the same bytes, and is no IP packet", () => {
  const request = encodeRequest(NONCE, 1450);
  expect([request.length, (request[0] ?? 0) >> 4]).toEqual([1450, 0]);
  const asked = decodePathProbe(request);
  const answer = asked?.type === "request" ? asked.answer : Buffer.alloc(0);
  expect(answer).toHaveLength(1450);
  expect(decodePathProbe(answer)).toEqual({ type: "answer", nonce: NONCE });
});

it("is not taken for anything else", () => {
  const request = encodeRequest(NONCE, 0);
  const changed = (at: number, value: number) => {
    const bytes = Buffer.from(request);
    bytes[at] = value;
    return bytes;
  };
  const others = [Buffer.alloc(0), request.subarray(0, 15), changed(0, 0x45), changed(5, 0), changed(6, 3)];
  expect(others.map(decodePathProbe)).toEqual(others.map(() => null));
});

it("counts an answer once, and from the address that was asked", () => {
  const probes = new PathProbes();
  const answered: string[] = [];
  const nonce = probes.add("192.0.2.1", () => answered.push("first"));
  const other = probes.add("192.0.2.2", () => answered.push("second"));
  expect(nonce).not.toBe(other);
  probes.answered({ nonce, address: "192.0.2.2" });
  probes.answered({ nonce: "0000000000000000", address: "192.0.2.1" });
  expect(answered).toEqual([]);
  for (let count = 0; count < 2; count++) probes.answered({ nonce, address: "192.0.2.1" });
  expect(answered).toEqual(["first"]);
});

it("forgets the oldest that were never answered", () => {
  const probes = new PathProbes();
  let answers = 0;
  const oldest = probes.add("192.0.2.1", () => answers++);
  let newest = oldest;
  for (let count = 0; count < 1_024; count++) newest = probes.add("192.0.2.1", () => answers++);
  for (const nonce of [oldest, newest]) probes.answered({ nonce, address: "192.0.2.1" });
  expect(answers).toBe(1);
});
