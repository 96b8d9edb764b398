import { expect, it } from "vitest";
import { NetworkKeeper, type NetworkKeeperOptions } from "../../../../agent/docker-driver/network-keeper.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

it("tries again soon after news, however long the engine has failed", async () => {
  const clock = new FakeClock();
  let passes = 0;
  const options = {
    context: {
      ...{ clock, logger: silentLogger, feed: { view: { networks: new Map() } } },
      state: { removals: [], networks: new Map() },
    },
    engineNetworks: {
      list: () => {
        passes += 1;
        return Promise.reject(new Error("the engine does not answer"));
      },
    },
    settlement: {},
    random: () => 1,
  } as unknown as NetworkKeeperOptions;
  const keeper = new NetworkKeeper(options);
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  await clock.advance(120_000);
  const before = passes;
  keeper.wake();
  await clock.advance(1_000);
  expect(passes - before).toBeGreaterThanOrEqual(3);
  stop.abort();
  await running;
});
