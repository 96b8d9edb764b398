import { expect, it } from "vitest";
import { suspectedRule } from "../../../../agent/explain/policy-rule.ts";
import type { Rule } from "../../../../backends/netlink/rule.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";

const BLACKHOLE = 6;
const PROHIBIT = 8;

function rule(changes: Partial<Rule>): Rule {
  return {
    ...{ family: 4, priority: 50, action: BLACKHOLE, table: 0, source: null, destination: null },
    ...{ inputInterface: "", outputInterface: "", mark: 0, markMask: 0, hasOthers: true, isInverted: false },
    ...changes,
  };
}

it("suspects the rule whose error the kernel gave", () => {
  const [blackhole, prohibit] = [rule({}), rule({ action: PROHIBIT })];
  expect(suspectedRule([blackhole, prohibit], "EACCES")).toBe(prohibit);
  expect(suspectedRule([prohibit, blackhole], "EINVAL")).toBe(blackhole);
  expect(suspectedRule([prohibit], "ENETUNREACH")).toBeNull();
});

it("suspects only rules for packets that arrive where those of this host are sent on", () => {
  const [byDevice, bySource] = [
    rule({ inputInterface: "docker0" }),
    rule({ source: Prefix.parse("10.2.1.0/24") }),
  ];
  expect(suspectedRule([rule({}), byDevice], null)).toBe(byDevice);
  expect(suspectedRule([rule({}), bySource], null)).toBe(bySource);
  expect(suspectedRule([rule({})], null)).toBeNull();
});
