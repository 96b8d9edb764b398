/** The line that a service manager shows, followed from the start of a daemon to its trouble and back. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AdjustableLogger } from "../../../../agent/report/log.ts";
import type { ServiceNotifier } from "../../../../agent/report/sd-notify.ts";
import { ServiceStatus } from "../../../../agent/report/service-status.ts";
import { silentLogger } from "../../../../ipam/log.ts";

describe("service status", () => {
  const said: string[] = [];
  const notifier: ServiceNotifier = {
    watchdogMs: null,
    ready: (text) => void said.push(`ready: ${text}`),
    status: (text) => void said.push(text),
    stopping() {},
    reloading: (ms) => void said.push(`reloading ${ms}`),
    watchdog() {},
    close() {},
  };
  const logger: AdjustableLogger = { ...silentLogger, setLevel() {} };
  let status: ServiceStatus;

  beforeEach(() => {
    vi.useFakeTimers();
    said.length = 0;
    status = new ServiceStatus(notifier);
  });

  afterEach(() => {
    status.close();
    vi.useRealTimers();
  });

  const news = (): string[] => {
    vi.advanceTimersByTime(1000);
    return said.splice(0);
  };

  it("says what the daemon waits for, then what it is, then what became of it", () => {
    const heard = status.listenTo(logger);
    expect(news()).toEqual(["starting"]);
    heard.warn("waiting for a network configuration", { store: "etcd", problem: "there is none" });
    heard.info("this is no problem", { reason: "it is none" });
    heard.warn("this keeps nobody waiting", { warning: "a wrong variable" });
    expect(news()).toEqual(["waiting for a network configuration: there is none"]);

    const view = { isReady: false, summary: null as string | null };
    status.follow(view);
    view.summary = "10.2.7.0-24 on eth0, 0 peers";
    view.isReady = true;
    status.ready();
    expect(news()).toEqual(["ready: 10.2.7.0-24 on eth0, 0 peers"]);

    view.summary = "10.2.7.0-24 on eth0, 1 peers";
    expect(news()).toEqual(["10.2.7.0-24 on eth0, 1 peers"]);
    expect(news()).toEqual([]);

    view.isReady = false;
    heard.error("interface cannot be used now", { error: "eth0 has no address" });
    expect(news()).toEqual(["not ready: interface cannot be used now: eth0 has no address"]);
    view.isReady = true;
    expect(news()).toEqual(["10.2.7.0-24 on eth0, 1 peers"]);
  });

  it("brackets a reload, also one that fails, but never makes a daemon ready that is not", async () => {
    await status.reload(1, async () => undefined);
    expect(news()).toEqual(["starting"]);
    status.follow({ isReady: true, summary: "up" });
    status.ready();
    const failed = status.reload(7, () => Promise.reject(new Error("no such file")));
    await expect(failed).rejects.toThrow("no such file");
    expect(news()).toEqual(["ready: up", "reloading 7", "ready: up"]);
  });
});
