import { beforeEach, describe, expect, it } from "vitest";
import { type CauseCode, causeOf } from "../../../../agent/probes/causes.ts";
import { PathLog } from "../../../../agent/probes/path-log.ts";
import type { PathState } from "../../../../agent/probes/path-watch.ts";
import type { Logger } from "../../../../ipam/log.ts";
import { TARGET } from "./target-fixture.ts";

const target = (index: number) => ({ ...TARGET, id: `peer ${index}` });
const bad = (code: CauseCode): PathState => ({ state: "bad", cause: causeOf(code, "seen"), sinceMs: 0 });

describe("the log of paths", () => {
  let lines: string[];
  let active: Set<CauseCode>;
  let nowMs: number;
  let log: PathLog;

  beforeEach(() => {
    lines = [];
    active = new Set();
    nowMs = 0;
    const add = (message: string, fields: object = {}): void => {
      lines.push([message, ...("cause" in fields ? [fields.cause] : [])].join(" "));
    };
    const logger: Logger = { debug: add, info: add, warn: add, error: add };
    log = new PathLog({
      logger,
      now: () => nowMs,
      isActive: (code) => active.has(code),
      hostNameOf: () => null,
    });
  });

  it("names each broken path, and says when it works", () => {
    log.note(target(1), bad("host-down"));
    log.note(target(1), { state: "good" });
    log.note(target(2), { state: "good" });
    expect(lines).toEqual(["the path to a peer is broken host-down", "the path to a peer works"]);
  });

  it("names a cause of this host once, and its end", () => {
    active.add("interface-down");
    log.note(target(1), bad("interface-down"));
    log.note(target(2), bad("interface-down"));
    active.clear();
    log.note(target(1), { state: "good" });
    log.note(target(2), { state: "good" });
    expect(lines).toEqual([
      "paths to peers are broken interface-down",
      "paths to peers work again interface-down",
    ]);
  });

  it("writes a bounded number of lines, however many paths break", () => {
    for (let index = 0; index < 5_000; index++) log.note(target(index), bad("host-down"));
    expect(lines).toHaveLength(20);
    nowMs += 120_000;
    log.note(target(1), { state: "good" });
    expect(lines.slice(20)).toEqual(["more paths changed than were logged", "the path to a peer works"]);
  });
});
