/** The tries of a watch that keeps failing: how often, how loud, and what ends a wait early. */

import { describe, expect, it } from "vitest";
import type { StoreMessage } from "../../../../ipam/store.ts";
import { healedWatch } from "../../../../ipam/stores/healed-watch.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { KeptLog } from "../../../support/watch-log.ts";

const LISTING: StoreMessage = { type: "list", revision: 1n, entries: [], config: null };
const FAILED = "warn lease store watch failed, trying again";
const WORKS = "info lease store watch works again";

/** A watch whose tries do what `attempt` does, and the times at which they began. */
function watchWith(
  attempt: (count: number, alive: () => void, signal: AbortSignal) => AsyncIterable<StoreMessage>,
  wake?: (signal: AbortSignal) => Promise<void>,
) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const stop = new AbortController();
  const startMs = clock.monotonicMs();
  const triedMs: number[] = [];
  const follow = (alive: () => void) => {
    triedMs.push(clock.monotonicMs() - startMs);
    return attempt(triedMs.length, alive, stop.signal);
  };
  const options = {
    log,
    clock,
    random: () => 1,
    dateMs: () => 0,
    description: "store",
    ...(wake ? { wake } : {}),
  };
  const messages: StoreMessage[] = [];
  const done = (async () => {
    for await (const message of healedWatch(follow, options, stop.signal)) messages.push(message);
  })();
  return { clock, log, triedMs, messages, end: async () => (stop.abort(), await done) };
}

async function* failAtOnce(): AsyncGenerator<StoreMessage> {
  throw new Error("refused");
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

describe("healedWatch", () => {
  it("doubles the wait from 100 ms to 5 s and says so at 1, 10 and 100 failures", async () => {
    const { clock, log, triedMs, end } = watchWith(failAtOnce);
    await clock.advance(10_000);
    expect(triedMs).toEqual([0, 100, 300, 700, 1_500, 3_100, 6_300]);
    await clock.advance(600_000);
    expect(log.lines).toEqual([FAILED, FAILED, FAILED]);
    await end();
  });
  it("does not take a listing for success while each try fails right after it", async () => {
    const { clock, log, triedMs, end } = watchWith(async function* () {
      yield LISTING;
      throw new Error("cancelled");
    });
    await clock.advance(60_000);
    expect(triedMs.length).toBeLessThan(20);
    expect(log.lines).toEqual([FAILED, FAILED]);
    await end();
  });
  it("has recovered once a try has stood for a second, also one that has nothing to tell", async () => {
    const { clock, log, end } = watchWith(async function* (count, alive, signal) {
      if (count < 4) throw new Error("refused");
      alive();
      await untilAborted(signal);
    });
    await clock.advance(1_600);
    expect(log.lines).toEqual([FAILED]);
    await clock.advance(1_000);
    expect(log.lines).toEqual([FAILED, WORKS]);
    await end();
  });
  it("counts the wait from the beginning of a try: a slow one is followed soon", async () => {
    const watched = watchWith(async function* (_count, _alive, signal) {
      await watched.clock.sleep(5_000, signal);
      throw new Error("timed out");
    });
    await watched.clock.advance(20_500);
    expect(watched.triedMs).toEqual([0, 5_050, 10_100, 15_150, 20_200]);
    await watched.end();
  });
  it("tries as soon as it is woken", async () => {
    let wakeUp = () => {};
    const { clock, triedMs, end } = watchWith(
      failAtOnce,
      () =>
        new Promise((resolve) => {
          wakeUp = resolve;
        }),
    );
    await clock.advance(6_400);
    const tries = triedMs.length;
    wakeUp();
    await clock.advance(0);
    expect(triedMs).toHaveLength(tries + 1);
    await end();
  });
});
