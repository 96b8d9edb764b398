/** Hosts that are started before their network has a configuration. */

import { expect, it } from "vitest";
import { waitForNetworkConfig } from "../../../../agent/network/wait-for-config.ts";
import { StoreError } from "../../../../ipam/errors.ts";
import type { StoreListing, StoreMessage } from "../../../../ipam/stores/contracts.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { entry, NETWORK, recordingLogger } from "../../../support/lease-fixture.ts";

const listing = (config: string | null): StoreListing => ({
  revision: 9n,
  entries: [entry("10.2.9.0-24", 9)],
  config,
});
const written = (value: string | null): StoreMessage => ({
  type: "changes",
  revision: 8n,
  changes: [{ type: "config", value, revision: 8n }],
});
const NONE: StoreMessage = { type: "list", revision: 1n, entries: [], config: null };

function start(messages: readonly StoreMessage[], list: (attempt: number) => StoreListing) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const stop = new AbortController();
  let attempts = 0;
  const feed = {
    list: async () => {
      attempts += 1;
      return list(attempts);
    },
  };
  async function* all() {
    yield* messages;
    await clock.sleep(3_600_000, stop.signal);
  }
  const runtime = { clock, random: () => 0.5, logger };
  const found = waitForNetworkConfig({ description: "store", feed }, all(), runtime, stop.signal);
  found.catch(() => undefined);
  return { clock, lines: logger.lines, stop, found, attempts: () => attempts };
}

function stalled(retryable: boolean): never {
  throw new StoreError("the store does not answer", { retryable });
}

it("lists again when the store stalls while the configuration appears", async () => {
  const { clock, lines, found } = start([NONE, written(NETWORK)], (attempt) =>
    attempt < 3 ? stalled(true) : listing(NETWORK),
  );
  await clock.advance(10_000);
  await expect(found).resolves.toMatchObject({ listing: { revision: 9n }, networkConfig: { text: NETWORK } });
  expect(lines.filter(({ message }) => message === "waiting for a network configuration")).toHaveLength(1);
});

it("ends with its signal while the store stalls", async () => {
  const { clock, stop, found, attempts } = start([written(NETWORK)], () => stalled(true));
  await clock.advance(60_000);
  expect(attempts()).toBeGreaterThan(3);
  stop.abort(new Error("stopped"));
  await expect(found).rejects.toThrow("stopped");
});

it("ends where a retry does not help", async () => {
  await expect(start([written(NETWORK)], () => stalled(false)).found).rejects.toThrow("does not answer");
});

it("goes by the configuration that was listed with the leases", async () => {
  const other = NETWORK.replace("10.2", "10.3");
  const { found, lines } = start([written(NETWORK), written(other)], (attempt) =>
    listing(attempt === 1 ? "{" : other),
  );
  await expect(found).resolves.toMatchObject({ networkConfig: { text: other } });
  expect(lines.map(({ message }) => message)).toEqual(["waiting for a network configuration"]);
});
