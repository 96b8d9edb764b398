import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import type { LogFormat } from "../../../../agent/config/config.ts";
import { createLogger } from "../../../../agent/report/log.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import { StoreError, type StoreErrorCode } from "../../../../ipam/errors.ts";
import { FailureSeries, type LogFields, type Logger } from "../../../../ipam/log.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass
const UNSAFE = /[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]|\p{Cs}/u;

function capture(format: LogFormat) {
  const stream = new PassThrough();
  const now = () => new Date(0);
  const log = createLogger({ level: "info", format, now, stream });
  return { log, text: () => textIn(stream) };
}

/** Everything that waits in a stream; one read may return a single chunk. */
function textIn(stream: PassThrough): string {
  let text = "";
  for (let chunk = stream.read(); chunk !== null; chunk = stream.read()) text += chunk;
  return text;
}

describe("lines", () => {
  it("text: time, level, message, fields", () => {
    const { log, text } = capture("text");
    log.info("route added", {
      destination: Prefix.parse("10.2.54.0/24"),
      device: "flannel.1",
      reason: "a b",
    });
    expect(text()).toBe(
      '1970-01-01T00:00:00.000Z info  route added destination=10.2.54.0/24 device=flannel.1 reason="a b"\n',
    );
  });

  it("text: lists without the marks of JSON", () => {
    const { log, text } = capture("text");
    log.info("seen", { addresses: ["10.2.5.1", Prefix.parse("10.2.6.0/24")], flags: ["a b", "c"], none: [] });
    expect(text()).toContain(' seen addresses=10.2.5.1,10.2.6.0/24 flags="a b,c" none=""\n');
  });

  it("json: one object per line, fields beside the message", () => {
    const { log, text } = capture("json");
    log.warn("store is away", { message: "x", revision: 5n, cause: new Error("refused") });
    expect(JSON.parse(text())).toEqual({
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      message: "x",
      revision: "5",
      cause: "refused",
    });
  });

  it.each(["text", "json"] as const)("are the same once winston writes them (%s)", async (format) => {
    const { log, text } = capture(format);
    const write = (): string => {
      log.error("device is gone", {
        device: "flannel.1",
        reason: 'a "b"\n%s {}',
        level: "x",
        list: [1, "a b"],
      });
      log.debug("hidden");
      log.setLevel("debug");
      log.debug("shown");
      log.setLevel("info");
      return text();
    };
    const before = write();
    await log.loadWriter();
    expect(write()).toBe(before);
    expect(before.split("\n")).toHaveLength(3);
  });

  it("a field cannot forge a line", () => {
    const { log, text } = capture("text");
    log.info("peer refused", { reason: "x\n1970 error fake" });
    expect(text().split("\n")).toHaveLength(2);
  });

  it.each(["text", "json"] as const)("shows no unsafe character of any field (%s)", (format) => {
    const { log, text } = capture(format);
    const hostile = "\u0000\u001b[2J\u007f\u009b\u202e\u2066\u2028\ud800\nforged";
    log.warn(`message ${hostile}`, {
      key: hostile,
      [hostile]: hostile,
      list: [hostile, { [hostile]: hostile }],
      error: new Error(hostile),
      map: new Map([[hostile, hostile]]),
    });
    const written = text();
    expect(written.slice(0, -1)).not.toMatch(UNSAFE);
    expect(written).toContain("forged");
    if (format === "json") expect(JSON.parse(written)).toMatchObject({ key: hostile });
  });

  it.each(["text", "json"] as const)("a field of any size makes a short line (%s)", (format) => {
    const { log, text } = capture(format);
    const long = "k".repeat(30_000);
    log.warn(long, { key: long, list: Array(10_000).fill("item"), object: { [long]: long }, reason: "why" });
    const written = text();
    expect(written.length).toBeLessThan(6000);
    expect(written).toContain("characters left out");
    expect(written).toContain("why");
  });

  it("lines of one message are counted beyond the first ones of a minute", () => {
    const stream = new PassThrough();
    let nowMs = 0;
    const log = createLogger({ level: "info", format: "text", now: () => new Date(nowMs), stream });
    for (let number = 0; number < 4000; number++) log.warn("lease is rejected", { key: `key${number}` });
    log.warn("something else");
    nowMs = 61_000;
    log.warn("lease is rejected", { key: "later" });
    const lines = textIn(stream).trim().split("\n");
    expect(lines).toHaveLength(25);
    expect(lines.slice(19, 25).map((line) => line.slice(31))).toEqual([
      "lease is rejected key=key19",
      "lease is rejected key=key29 suppressed=9",
      "lease is rejected key=key119 suppressed=89",
      "lease is rejected key=key1019 suppressed=899",
      "something else",
      "lease is rejected key=later suppressed=2980",
    ]);
  });

  it("debug lines are not counted away", () => {
    const { log, text } = capture("text");
    log.setLevel("debug");
    for (let number = 0; number < 100; number++) log.debug("route added", { number });
    expect(text().split("\n")).toHaveLength(101);
  });

  it("the level can change", () => {
    const { log, text } = capture("text");
    log.debug("hidden");
    expect(text()).toBe("");
    log.setLevel("debug");
    log.debug("shown");
    expect(text()).toContain("shown");
  });

  it.each(["text", "json"] as const)("secrets are redacted at any depth (%s)", (format) => {
    const { log, text } = capture(format);
    log.info("opening", {
      password: "hunter2",
      nested: { consulToken: "hunter2" },
      endpoints: ["https://me:hunter2@host:1"],
      error: new Error("no answer of https://me:hunter2@host:2"),
      servers: new Map([["token", "hunter2"]]),
      urls: new Set(["https://me:hunter2@host:3"]),
    });
    const line = text();
    expect(line).not.toContain("hunter2");
    expect(line).toContain("https://me:[redacted]@host:1");
  });
});

describe("a series of failures", () => {
  function recorded() {
    const lines: [string, string, LogFields | undefined][] = [];
    const at = (level: string) => (message: string, fields?: LogFields) => {
      lines.push([level, message, fields]);
    };
    const log: Logger = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
    return { lines, series: new FailureSeries(log, "watch failed", "watch works again") };
  }

  it("warns first, then counts in powers of ten, then reports the recovery", () => {
    const { lines, series } = recorded();
    for (let time = 0; time < 150; time++) series.failed(new StoreError("gone"), { key: "k" });
    series.succeeded();
    series.succeeded();
    expect(lines).toEqual([
      ["warn", "watch failed", { key: "k", code: "TULLE_STORE", error: "gone" }],
      ["warn", "watch failed", { key: "k", code: "TULLE_STORE", error: "gone", failures: 10 }],
      ["warn", "watch failed", { key: "k", code: "TULLE_STORE", error: "gone", failures: 100 }],
      ["info", "watch works again", { failures: 150 }],
    ]);
  });

  it("reports each error code once, whose remedy differs", () => {
    const { lines, series } = recorded();
    const failWith = (code: StoreErrorCode) => series.failed(new StoreError("gone", { code }));
    for (let time = 0; time < 4; time++) {
      failWith("TULLE_STORE_UNREACHABLE");
      failWith("TULLE_STORE_AUTH");
    }
    const shown = lines.map(([, , fields]) => [fields?.code, fields?.failures]);
    expect(shown).toEqual([
      ["TULLE_STORE_UNREACHABLE", undefined],
      ["TULLE_STORE_AUTH", 2],
    ]);
  });

  it("starts again after a success and is silent without failures", () => {
    const { lines, series } = recorded();
    series.succeeded();
    series.failed("a");
    series.succeeded();
    series.failed("b");
    expect(lines.map(([level]) => level)).toEqual(["warn", "info", "warn"]);
  });
});
