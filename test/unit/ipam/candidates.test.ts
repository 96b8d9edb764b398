/** Which subnets a host tries, in which order. */

import { describe, expect, it } from "vitest";
import { OverlapIndex } from "../../../ipam/addresses/overlap-index.ts";
import { candidates, fits } from "../../../ipam/leases/candidates.ts";
import { network, nodeId, prefix, subnets } from "../../support/lease-fixture.ts";

const { families } = network();

function allOf(generator: Iterable<object>): string[] {
  const found: string[] = [];
  try {
    for (const candidate of generator) found.push(Object.values(candidate).join("&"));
  } catch (error) {
    found.push((error as Error).message.slice(0, 17));
  }
  return found;
}

describe("candidates", () => {
  it("visit every subnet of the range once, then say that none is free", () => {
    const found = allOf(
      candidates({
        families,
        taken: new OverlapIndex(),
        wishes: [],
        used: [],
        isAvoided: () => false,
        seed: "x",
      }),
    );
    expect(found.pop()).toBe("no subnet is free");
    expect(new Set(found).size).toBe(255);
    expect(found).not.toContain("10.2.0.0/24");
  });

  it("begin at places spread over the whole range", () => {
    const firsts = Array.from({ length: 1000 }, (_, n) => {
      const [first] = candidates({
        families,
        taken: new OverlapIndex(),
        wishes: [],
        used: [],
        isAvoided: () => false,
        seed: nodeId(n),
      });
      return Number(first?.[4]?.base.toString().split(".")[2]);
    });
    for (let quarter = 0; quarter < 4; quarter++) {
      const inside = firsts.filter((third) => Math.floor(third / 64) === quarter).length;
      expect(inside).toBeGreaterThan(200);
    }
  });

  it("are the same for the same host", () => {
    const once = (): string[] =>
      allOf(
        candidates({
          families,
          taken: new OverlapIndex(),
          wishes: [],
          used: [],
          isAvoided: () => false,
          seed: nodeId(7),
        }),
      );
    expect(once()).toEqual(once());
  });

  it("notice what is taken while they are asked for", () => {
    const taken = new OverlapIndex<string>();
    const generator = candidates({
      families,
      taken,
      wishes: [],
      used: [],
      isAvoided: () => false,
      seed: "x",
    });
    generator.next();
    taken.set(prefix("10.2.0.0/17"), "the lower half");
    const rest = allOf(generator);
    expect(rest.every((text) => !/^10\.2\.([0-9]|[0-9][0-9]|1[01][0-9]|12[0-7])\./.test(text))).toBe(true);
  });

  it("take wishes first, as far as they are free and of the network", () => {
    const taken = new OverlapIndex<string>();
    taken.set(prefix("10.2.5.0/24"), "a host");
    const wishes = ["10.9.1.0-24", "10.2.5.0-24", "10.2.6.0-24"].map(subnets);
    const [first] = candidates({ families, taken, wishes, used: [], isAvoided: () => false, seed: "x" });
    expect(first?.[4]?.toString()).toBe("10.2.6.0/24");
  });

  it("look for a free place in a range of sixteen million at once", () => {
    const { families: wide } = network('{"Network":"10.0.0.0/8","SubnetLen":30}');
    const [first] = candidates({
      families: wide,
      taken: new OverlapIndex(),
      wishes: [],
      used: [],
      isAvoided: () => false,
      seed: "x",
    });
    expect(first?.[4]?.length).toBe(30);
  });
});

describe("fits", () => {
  it.each([
    ["10.2.1.0-24", true],
    ["10.2.255.0-24", true],
    ["10.2.0.0-24", false],
    ["10.3.1.0-24", false],
    ["10.2.1.0-25", false],
    ["10.2.1.0-24&fd00::-64", false],
  ])("%s: %s", (key, expected) => {
    expect(fits(subnets(key), families)).toBe(expected);
  });
});
