/** The tries of a watch that keeps failing: how often, how loud, and what ends a wait early. */

import { describe, expect, it } from "vitest";
import type { StoreHealth } from "../../../../ipam/stores/contracts.ts";
import { type HealedWatchOptions, healedWatch } from "../../../../ipam/stores/healed-watch.ts";
import type { KeyMessage } from "../../../../ipam/stores/key-value.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { KeptLog } from "../../../support/watch-log.ts";

const LISTING: KeyMessage = { type: "list", revision: 1n, entries: [] };
const FAILED = "warn lease store watch failed, trying again";
const WORKS = "info lease store watch works again";

interface Try {
  /** Which one it is, from 1. */
  readonly number: number;
  readonly clock: FakeClock;
  readonly signal: AbortSignal;
  alive(): void;
}

/** A watch each of whose tries yields `first` and then does what `attempt` does; and when the tries began. */
function watchWith(
  attempt: (current: Try) => Promise<void>,
  { first = [], ...more }: { first?: readonly KeyMessage[] } & Partial<HealedWatchOptions> = {},
) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const stop = new AbortController();
  const startMs = clock.monotonicMs();
  const triedMs: number[] = [];
  const healths: StoreHealth[] = [];
  async function* follow(alive: () => void): AsyncGenerator<KeyMessage> {
    triedMs.push(clock.monotonicMs() - startMs);
    yield* first;
    await attempt({ number: triedMs.length, clock, signal: stop.signal, alive });
  }
  const onHealth = (health: StoreHealth) => healths.push(health);
  const edges = { log, clock, random: () => 1, dateMs: () => 0, description: "store", onHealth };
  const done = (async () => {
    const watch = healedWatch(follow, { ...edges, ...more }, stop.signal);
    for await (const message of watch) expect(message).toBe(LISTING);
  })();
  const end = async (): Promise<void> => {
    stop.abort();
    await done;
  };
  return { clock, log, triedMs, healths, end };
}

async function fail(): Promise<void> {
  throw new Error("refused");
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

describe("healedWatch", () => {
  it("does not log an attempt that ends because the store was told to reconnect, and retries", async () => {
    let redials = 0;
    const dialAnew = async () => {
      redials += 1;
      throw new Error("cancelled");
    };
    const watch = watchWith(({ number }) => (number === 1 ? dialAnew() : fail()), { redials: () => redials });
    await watch.clock.advance(50);
    expect(watch.log.lines).toEqual([]);
    await watch.clock.advance(100);
    expect(watch.log.lines).toEqual([FAILED]);
    expect(watch.healths).toHaveLength(1);
    await watch.end();
  });

  it("doubles the wait from 100 ms to 5 s and says so at 1, 10 and 100 failures", async () => {
    const { clock, log, triedMs, end } = watchWith(fail);
    await clock.advance(10_000);
    expect(triedMs).toEqual([0, 100, 300, 700, 1_500, 3_100, 6_300]);
    await clock.advance(600_000);
    expect(log.lines).toEqual([FAILED, FAILED, FAILED]);
    await end();
  });
  it("does not take a listing for success while each try fails right after it", async () => {
    const { clock, log, triedMs, end } = watchWith(fail, { first: [LISTING] });
    await clock.advance(60_000);
    expect(triedMs.length).toBeLessThan(20);
    expect(log.lines).toEqual([FAILED, FAILED]);
    await end();
  });
  it("has recovered once a try has stood for a second, also one that has nothing to tell", async () => {
    const { clock, log, healths, end } = watchWith(async ({ number, alive, signal }) => {
      if (number < 4) throw new Error("refused");
      alive();
      await untilAborted(signal);
    });
    await clock.advance(1_600);
    expect(log.lines).toEqual([FAILED]);
    const refused = { isFollowed: false, reason: "refused" };
    expect(healths).toEqual([refused, refused, refused]);
    await clock.advance(1_000);
    expect(log.lines).toEqual([FAILED, WORKS]);
    expect(healths.at(-1)).toEqual({ isFollowed: true });
    await end();
  });
  it("counts the wait from the beginning of a try: a slow one is followed soon", async () => {
    const { clock, triedMs, end } = watchWith(async (current) => {
      await current.clock.sleep(5_000, current.signal);
      throw new Error("timed out");
    });
    await clock.advance(20_500);
    expect(triedMs).toEqual([0, 5_050, 10_100, 15_150, 20_200]);
    await end();
  });
  it("tries as soon as it is woken", async () => {
    let wakeUp = () => {};
    const wake = () =>
      new Promise<void>((resolve) => {
        wakeUp = resolve;
      });
    const { clock, triedMs, end } = watchWith(fail, { wake });
    await clock.advance(6_400);
    const tries = triedMs.length;
    wakeUp();
    await clock.advance(0);
    expect(triedMs).toHaveLength(tries + 1);
    await end();
  });
});
