import { describe, expect, it } from "vitest";
import { EMPTY_ARGUMENT, parseFlags } from "../../../../agent/config/flag-parser.ts";

const parsed = (...args: string[]): Record<string, readonly string[]> =>
  Object.fromEntries(parseFlags(args, []));

describe("Go's flag syntax", () => {
  it("takes one dash or two, = or the next argument", () => {
    for (const args of [["-iface", "eth0"], ["--iface", "eth0"], ["-iface=eth0"], ["--iface=eth0"]]) {
      expect(parsed(...args)).toEqual({ iface: ["eth0"] });
    }
  });

  it("takes whatever follows as the value, even with a dash", () => {
    expect(parsed("-etcd-password", "-secret", "-v", "1")).toEqual({
      "etcd-password": ["-secret"],
      v: ["1"],
    });
  });

  it("keeps = inside a value and an empty value", () => {
    expect(parsed("-etcd-password=a=b", "-public-ip=")).toEqual({
      "etcd-password": ["a=b"],
      "public-ip": [""],
    });
  });

  it("switches take no following argument", () => {
    expect(parsed("-ip-masq", "-iface", "eth0")).toEqual({ "ip-masq": ["true"], iface: ["eth0"] });
    expect(parsed("-ip-masq=false")).toEqual({ "ip-masq": ["false"] });
    expect(() => parsed("-ip-masq", "false")).toThrow('"false": write -ip-masq=false');
  });

  it("collects repeated flags in order", () => {
    expect(parsed("-iface=eth0", "--iface", "10.0.0.1")).toEqual({ iface: ["eth0", "10.0.0.1"] });
  });

  it("skips empty arguments with one warning, but not empty values", () => {
    const warnings: string[] = [];
    const given = parseFlags(["", "-ip-masq", "", "-iface", "", "-v=1", "", "--", ""], warnings);
    expect(Object.fromEntries(given)).toEqual({ "ip-masq": ["true"], iface: [""], v: ["1"] });
    expect(warnings).toEqual([EMPTY_ARGUMENT]);
  });

  it("ends at --", () => {
    expect(parsed("-v=1", "--")).toEqual({ v: ["1"] });
    expect(() => parsed("--", "word")).toThrow('unexpected argument "word"');
  });

  it("knows -h, -help and --help", () => {
    for (const flag of ["-h", "--h", "-help", "--help"]) expect(parsed(flag)).toEqual({ help: ["true"] });
  });
});

describe("wrong command lines", () => {
  it("names the closest flag", () => {
    expect(() => parsed("--etcd-endpoint=x")).toThrow(
      "unknown flag -etcd-endpoint: did you mean -etcd-endpoints?",
    );
    expect(() => parsed("-ifcae", "x")).toThrow("did you mean -iface?");
  });

  it("does not guess when nothing is near", () => {
    expect(() => parsed("-frobnicate")).toThrow("unknown flag -frobnicate; see --help");
  });

  it("refuses a flag without its value", () => {
    expect(() => parsed("-iface")).toThrow("flag -iface needs a value");
  });

  it.each(["eth0", "-", "---x", "-=v"])("rejects %j", (word) => {
    expect(() => parsed(word)).toThrow(`unexpected argument "${word}"`);
  });
});
