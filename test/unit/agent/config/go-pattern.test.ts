/** Patterns in Go's syntax: each means the same here, or is rejected by name. */

import { describe, expect, it } from "vitest";
import { parseGoPattern } from "../../../../agent/config/flags/go-pattern.ts";

const NAMES = ["eth0", "eth10", "ETH0", "Aeth0", "ethz", "ens-1", "a]b", "10.2.0.1"];

describe("a pattern in Go's syntax", () => {
  it.each<[string, string[]]>([
    ["^eth[[:digit:]]$", ["eth0"]],
    ["^[[:alpha:]]+[[:digit:]]{2}$", ["eth10"]],
    ["^[^[:lower:]]+$", ["ETH0", "10.2.0.1"]],
    ["[[:upper:][:punct:]]", ["ETH0", "Aeth0", "ens-1", "a]b", "10.2.0.1"]],
    [String.raw`\Aeth0\z`, ["eth0"]],
    [String.raw`\Aeth\d+\z`, ["eth0", "eth10"]],
    ["^(?P<kind>eth)0", ["eth0"]],
    ["(?i)^ETH0", ["eth0", "ETH0"]],
    ["(?is)^ETH0$", ["eth0", "ETH0"]],
    ["[]x]", ["a]b"]],
    [String.raw`a\]b`, ["a]b"]],
    [String.raw`^[\w]+[\]]b`, ["a]b"]],
    [String.raw`^10\.2\.`, ["10.2.0.1"]],
    ["^(eth|ens)", ["eth0", "eth10", "ethz", "ens-1"]],
  ])("%s", (text, expected) => {
    const pattern = parseGoPattern(text);
    expect(NAMES.filter((name) => pattern.test(name))).toEqual(expected);
  });

  it("tells an escaped backslash from an anchor", () => {
    expect(parseGoPattern(String.raw`\\A`).test(String.raw`x\A`)).toBe(true);
  });

  it.each([
    [String.raw`\pL+`, String.raw`\p is not supported`],
    [String.raw`\Qeth0\E`, String.raw`\Q is not supported`],
    [String.raw`eth\x{30}`, String.raw`\x{ is not supported`],
    ["[[:^digit:]]", "[:^digit:] is not supported"],
    ["[[:eth:]]", "[:eth:] is not supported"],
    ["(?U)eth", "Invalid"],
    ["(", "Invalid"],
  ])("%s is rejected: %s", (text, message) => {
    expect(() => parseGoPattern(text)).toThrow(message);
  });
});
