/** What callbacks throw, in a process of its own, because each of these ends a process by default. */

import { execFileSync } from "node:child_process";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catchStrayErrors } from "../../../../agent/report/stray-errors.ts";
import { Faults, guarded } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { type Bundle, bundle } from "../../../support/bundle.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { describeOnRuntimes } from "../../../support/runtimes.ts";

/** The kinds of callbacks in which the program throws. */
const KINDS = [
  "timeout",
  "interval",
  "immediate",
  "guarded callback",
  "microtask",
  "tick",
  "promise",
  "async function",
  "sleep",
  "event without a listener",
  "watch",
  "child",
  "child that cannot be started",
  "netlink event",
  "signal",
  "abort",
  "request",
  "recovery",
];

describeOnRuntimes("an error that no handler takes", ({ kind, file }) => {
  let program: Bundle;
  beforeAll(async () => {
    program = await bundle("escaping-errors.ts", undefined, kind);
  });
  afterAll(() => program.dispose());

  it("does not end the process, whatever callback throws it, and has everything read again", () => {
    const output = execFileSync(file, [program.path], { encoding: "utf8", timeout: 30_000 });
    const { noted, recoveries, problems } = JSON.parse(output);
    // The runtimes word it differently.
    const kinds = noted.map((kind: string) => kind.replace(/.*ENOENT.*/, "child that cannot be started"));
    expect(kinds.sort()).toEqual([...KINDS].sort());
    // One for each kind of event, and the one that failed itself.
    expect(recoveries).toHaveLength(3);
    expect(problems).toHaveLength(3);
  });
});

describe("an error that no handler took", () => {
  it("is a problem until a minute without another one has passed", async () => {
    const [clock, stop, faults] = [new FakeClock(), new AbortController(), new Faults(silentLogger)];
    const before = process.listeners("unhandledRejection");
    const recoveries: string[] = [];
    catchStrayErrors({ faults, clock, recover: (reason) => recoveries.push(reason) }, stop.signal);
    const [raise] = process.listeners("unhandledRejection").filter((each) => !before.includes(each));
    for (let time = 0; time < 3; time++) raise?.(new Error("EMFILE"), Promise.resolve());
    expect(faults.problems).toEqual(["internal error in a background task, which is retried: EMFILE"]);
    await clock.advance(2_000);
    expect(recoveries).toEqual(["after an error in a background task"]);
    await clock.advance(70_000);
    expect(faults.problems).toEqual([]);
    stop.abort();
    expect(process.listeners("unhandledRejection")).toEqual(before);
  });
});

describe("a guarded callback", () => {
  it("shows what failed, throw or rejection, until it succeeds", async () => {
    const faults = new Faults(silentLogger);
    let isBroken = true;
    const body = (): void => {
      if (isBroken) throw new Error("no luck");
    };
    const [call, callLater] = [guarded(faults, "now", body), guarded(faults, "later", async () => body())];
    call();
    callLater();
    await Promise.resolve();
    await Promise.resolve();
    expect(faults.problems).toEqual([
      "internal error in now, which is retried: no luck",
      "internal error in later, which is retried: no luck",
    ]);
    isBroken = false;
    call();
    callLater();
    await Promise.resolve();
    await Promise.resolve();
    expect(faults.problems).toEqual([]);
  });
});
