/** Errors that end a network's loops: tried again with back-off, except what a person must correct before the start. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Identity } from "../../../../agent/host/identity.ts";
import { NetworkAgent } from "../../../../agent/network/network-agent.ts";
import type { NetworkSettings } from "../../../../agent/network/network-settings.ts";
import { Networks } from "../../../../agent/network/networks.ts";
import type { Runtime } from "../../../../agent/network/runtime.ts";
import { Metrics } from "../../../../agent/report/metrics.ts";
import { ConfigError, StoreError } from "../../../../ipam/errors.ts";
import { Faults } from "../../../../ipam/faults.ts";
import type { StoreConnection } from "../../../../ipam/stores/contracts.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

describe("the only network of a daemon", () => {
  const run = vi.spyOn(NetworkAgent.prototype, "run");
  const wasJoined = vi.spyOn(NetworkAgent.prototype, "wasJoined", "get");
  let stateDir: string;
  let stop: AbortController;
  let clock: FakeClock;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), "tulle-only-"));
    stop = new AbortController();
    clock = new FakeClock();
    wasJoined.mockReturnValue(false);
  });
  afterEach(() => {
    stop.abort();
    rmSync(stateDir, { recursive: true });
  });

  function only(): Networks {
    const logger = recordingLogger();
    const runtime = { clock, random: () => 0.5, logger, metrics: new Metrics(), faults: new Faults(logger) };
    const settings = { name: null, prefix: "/net", stateDir, lease: { ttlSeconds: 60 }, firewall: {} };
    const connection = { network: () => ({ feed: {} }), remoteHost: null, remoteHosts: [] };
    return new Networks({
      runtime: runtime as unknown as Runtime,
      networks: [settings as unknown as NetworkSettings],
      connection: connection as unknown as StoreConnection,
      identity: {} as Identity,
      version: "test",
      profile: { name: "test", version: "test", kernel: "test", backends: [] },
      onReady: () => undefined,
    });
  }
  const untilStopped = () =>
    new Promise<void>((resolve) => stop.signal.addEventListener("abort", () => resolve()));

  it.each([
    ["any error", new Error("injected"), false],
    ["a retryable one", new StoreError("injected", { retryable: true }), false],
    ["a final one after it was joined", new ConfigError("injected"), true],
  ])("is started again after %s, with the reason as its summary meanwhile", async (_, error, isJoined) => {
    wasJoined.mockReturnValue(isJoined);
    run
      .mockReset()
      .mockRejectedValueOnce(error)
      .mockRejectedValueOnce(error)
      .mockImplementation(untilStopped);
    const networks = only();
    const ended = networks.run(stop.signal);
    await vi.waitFor(() => expect(networks.summary).toContain("injected"));
    expect(networks.isReady).toBe(false);
    expect(run).toHaveBeenCalledTimes(1);
    await vi.waitFor(async () => {
      await clock.advance(1_000);
      expect(run).toHaveBeenCalledTimes(3);
    });
    expect(networks.summary).not.toContain("injected");
    stop.abort();
    await ended;
  });

  it("is started again soon after a long run, however often it failed before", async () => {
    const error = new Error("injected");
    run.mockReset();
    for (let count = 0; count < 8; count++) run.mockRejectedValueOnce(error);
    let fail = (): void => undefined;
    run
      .mockImplementationOnce(() => new Promise<void>((_, reject) => (fail = () => reject(error))))
      .mockImplementation(untilStopped);
    const ended = only().run(stop.signal);
    await vi.waitFor(async () => {
      await clock.advance(60_000);
      expect(run).toHaveBeenCalledTimes(9);
    });
    await clock.advance(3_600_000);
    const failedMs = clock.monotonicMs();
    fail();
    await vi.waitFor(async () => {
      await clock.advance(100);
      expect(run).toHaveBeenCalledTimes(10);
    });
    // The longest wait is 60 s, and half of it at least.
    expect(clock.monotonicMs() - failedMs).toBeLessThan(10_000);
    stop.abort();
    await ended;
  });

  it("ends the start with what a person must correct", async () => {
    run.mockReset().mockRejectedValue(new ConfigError("injected"));
    await expect(only().run(stop.signal)).rejects.toThrow("injected");
  });
});
