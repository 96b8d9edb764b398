/** Jobs that must not overlap: one after another, and one for many callers. */

import { describe, expect, it } from "vitest";
import { SharedTurns, Turns } from "../../../ipam/turns.ts";

/** A job that ends when it is told to. */
function job(name: string, log: string[]) {
  let end: (error?: Error) => void = () => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error === undefined ? resolve() : reject(error));
  });
  const run = async () => {
    log.push(`${name} begins`);
    await ended;
    log.push(`${name} ends`);
  };
  return { run, end };
}

describe("Turns", () => {
  it("runs jobs in their order, and goes on after one that failed", async () => {
    const [log, turns] = [[] as string[], new Turns()];
    const [first, second] = [job("first", log), job("second", log)];
    const failed = turns.run(first.run);
    const done = turns.run(second.run);
    second.end();
    first.end(new Error("the disk is full"));
    await expect(failed).rejects.toThrow("the disk is full");
    await done;
    expect(log).toEqual(["first begins", "second begins", "second ends"]);
  });

  it("returns what the job returns", async () => {
    expect(await new Turns().run(async () => 7)).toBe(7);
  });

  it("tells when all have ended, whether they failed or not", async () => {
    const turns = new Turns();
    const failed = turns.run(() => Promise.reject(new Error("no")));
    await turns.ended();
    await expect(failed).rejects.toThrow("no");
  });
});

describe("SharedTurns", () => {
  it("runs once for all that come before it begins, and again for those that come later", async () => {
    const [log, turns] = [[] as string[], new SharedTurns()];
    const [first, second] = [job("first", log), job("second", log)];
    const running = turns.run(first.run);
    await Promise.resolve();
    const waiting = [turns.run(second.run), turns.run(second.run)];
    first.end();
    second.end();
    await Promise.all([running, ...waiting]);
    expect(log).toEqual(["first begins", "first ends", "second begins", "second ends"]);
  });

  it("fails all that share a run, and runs the next", async () => {
    const turns = new SharedTurns();
    const shared = [1, 2].map(() => turns.run(() => Promise.reject(new Error("the disk is full"))));
    for (const each of shared) await expect(each).rejects.toThrow("the disk is full");
    await expect(turns.run(async () => undefined)).resolves.toBeUndefined();
  });
});
