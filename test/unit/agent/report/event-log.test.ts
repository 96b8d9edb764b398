import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventLog, MOST_EVENTS, readEvents } from "../../../../agent/report/event-log.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";

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

  it("is kept in memory where nothing can be written", async () => {
    const log = await run(["one"], join(directory, "absent"));
    expect(messages(log.events)).toContain("one");
  });
});
