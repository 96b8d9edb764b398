import { describe, expect, it } from "vitest";
import { causeOf } from "../../../../agent/probes/causes.ts";
import type { ProbeTarget } from "../../../../agent/probes/probe.ts";
import { formatConnectivity, type ShownMeasure } from "../../../../agent/terminal/connectivity-view.ts";
import { openTerminal } from "../../../../agent/terminal/terminal.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

const target = (number: number): ProbeTarget => ({
  ...{ id: `10.2.${number}.0-24`, peer: `10.2.${number}.0-24`, family: 4, path: "tunnel" },
  ...{ subnet: Prefix.parse(`10.2.${number}.0/24`), inner: Address.parse(`10.2.${number}.0`) },
  ...{
    isInnerCertain: true,
    sendsProbes: false,
    outer: Address.parse(`192.168.1.${number}`),
    mtuBytes: 1450,
  },
  ...{ tunnel: "UDP port 8472", tunnelKind: null },
});
const broken = (number: number): ShownMeasure => ({
  target: target(number),
  ...{ sent: 10, roundTripsMs: [], passesBytes: null, answersTcp: false },
  cause: causeOf("host-down", "is down"),
});
const problems = (measures: readonly ShownMeasure[]): readonly string[] => {
  const terminal = openTerminal({ write() {} }, {});
  const text = formatConnectivity({ from: null, measures }, { "10.2.1.0-24": "node-1" }, terminal);
  return (text.split("\nproblems\n")[1] ?? "").split("\n").filter(Boolean);
};

describe("the problems of measured paths", () => {
  it("name the host and what to do", () => {
    const [first] = problems([broken(1), broken(2)]);
    expect(first).toMatch(/^ {2}10\.2\.1\.0-24 \(node-1\) is down: start the peer/);
  });

  it("have a line each where they are few, and are counted where many have one cause", () => {
    expect(problems([1, 2, 3].map(broken))).toHaveLength(3);
    expect(problems(Array.from({ length: 200 }, (_, index) => broken(index)))).toEqual([
      expect.stringContaining("is down: start the peer"),
      "  199 more peers have the cause host-down",
    ]);
  });

  it("are none where all paths work", () => {
    const works = { ...broken(1), roundTripsMs: [0.5], sent: 1, cause: null };
    expect(problems([works])).toEqual([]);
  });
});
