import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EventLog, MOST_EVENTS, readEvents } from "../../../../agent/report/event-log.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tulle-events-"));
});
afterEach(() => rm(directory, { recursive: true }));

const line = (message: string): string => JSON.stringify({ time: "now", level: "info", message });
const messages = (events: readonly { readonly [key: string]: unknown }[]): readonly unknown[] =>
  events.map(({ message }) => message);

/** One run of a daemon that adds events and stops. */
async function run(texts: readonly string[], folder = directory): Promise<EventLog> {
  const log = new EventLog();
  const stop = new AbortController();
  const faults = new Faults(silentLogger);
  log.add(line("before the state directory is known"));
  const keeping = log.keep(folder, systemClock, faults, stop.signal);
  for (const text of texts) log.add(line(text));
  stop.abort();
  await keeping;
  return log;
}

describe("the log of events", () => {
  it("outlives the daemon, the oldest first", async () => {
    await run(["one", "two"]);
    const log = await run(["three"]);
    const first = "before the state directory is known";
    expect(messages(log.events)).toEqual([first, "one", "two", first, "three"]);
    expect(messages(readEvents(directory))).toEqual([first, "one", "two", first, "three"]);
  });

  it("forgets the oldest", async () => {
    const log = await run(Array.from({ length: 3 * MOST_EVENTS }, (_, index) => `event ${index}`));
    expect(log.events).toHaveLength(MOST_EVENTS);
    expect(log.events.at(-1)?.message).toBe(`event ${3 * MOST_EVENTS - 1}`);
    const kept = await readFile(join(directory, "events.jsonl"), "utf8");
    expect(kept.trim().split("\n")).toHaveLength(MOST_EVENTS);
  });

  it("leaves out lines that were cut or are not events", async () => {
    await run(["one"]);
    await appendFile(join(directory, "events.jsonl"), '{"time":"now","mess\n[]\n7\n{"message":7}\n');
    expect(messages(readEvents(directory))).toEqual(["before the state directory is known", "one"]);
    expect(messages((await run(["two"])).events)).toContain("two");
  });

  it("is written once that succeeds again, without another event", async () => {
    const [clock, faults, log, stop] = [
      new FakeClock(),
      new Faults(silentLogger),
      new EventLog(),
      new AbortController(),
    ];
    const folder = join(directory, "later");
    const keeping = log.keep(folder, clock, faults, stop.signal);
    log.add(line("one"));
    for (let retries = 0; retries < 3; retries++) {
      await clock.advance(30_000);
      await vi.waitFor(() => expect(clock.hasSleepers).toBe(true));
    }
    expect(faults.problems).toHaveLength(1);
    await mkdir(folder);
    await clock.advance(30_000);
    await vi.waitFor(() => expect(faults.problems).toEqual([]));
    expect(messages(readEvents(folder))).toEqual(["one"]);
    stop.abort();
    await keeping;
  });

  it("is written again in place of a file that cannot be read", async () => {
    const path = join(directory, "events.jsonl");
    await writeFile(path, "x".repeat((16 << 20) + 1));
    const [clock, faults, log, stop] = [
      new FakeClock(),
      new Faults(silentLogger),
      new EventLog(),
      new AbortController(),
    ];
    const keeping = log.keep(directory, clock, faults, stop.signal);
    expect(faults.problems).toHaveLength(1);
    log.add(line("one"));
    await vi.waitFor(() => expect(clock.hasSleepers).toBe(true));
    await clock.advance(3_000);
    await vi.waitFor(() => expect(faults.problems).toEqual([]));
    expect(messages(readEvents(directory))).toEqual(["one"]);
    stop.abort();
    await keeping;
  });

  it("is kept in memory where nothing can be written", async () => {
    const log = await run(["one"], join(directory, "absent"));
    expect(messages(log.events)).toContain("one");
  });
});
