/** The line that a service manager shows, followed from the start of a daemon to its trouble and back. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ServiceNotifier } from "../../../../agent/report/sd-notify.ts";
import { ServiceStatus } from "../../../../agent/report/service-status.ts";
import { Faults } from "../../../../ipam/faults.ts";
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
    keep() {},
    forget() {},
    close() {},
  };
  let status: ServiceStatus;

  beforeEach(() => {
    vi.useFakeTimers();
    said.length = 0;
    status = new ServiceStatus(notifier, new Faults(silentLogger));
  });

  afterEach(() => {
    status.close();
    vi.useRealTimers();
  });

  const news = (): string[] => {
    vi.advanceTimersByTime(1000);
    return said.splice(0);
  };

  it("follows the summary from the start to readiness and back", () => {
    let summary = "waiting for a network configuration: there is none";
    status.follow(() => summary);
    expect(news()).toEqual(["waiting for a network configuration: there is none"]);

    summary = "10.2.7.0-24 on eth0, 0 peers";
    status.ready();
    expect(news()).toEqual(["ready: 10.2.7.0-24 on eth0, 0 peers"]);

    summary = "10.2.7.0-24 on eth0, 1 peers";
    expect(news()).toEqual(["10.2.7.0-24 on eth0, 1 peers"]);
    expect(news()).toEqual([]);

    summary = "not ready: eth0 has no address";
    expect(news()).toEqual(["not ready: eth0 has no address"]);
  });

  it("survives a summary that throws", () => {
    status.follow(() => {
      throw new Error("no file descriptors left");
    });
    expect(news()).toEqual(["the state cannot be read: no file descriptors left"]);
  });

  it("brackets a reload, also one that fails, but never announces a daemon that is not ready", async () => {
    status.follow(() => "up");
    await status.reload(1, async () => undefined);
    expect(news()).toEqual(["up"]);
    status.ready();
    const failed = status.reload(7, () => Promise.reject(new Error("no such file")));
    await expect(failed).rejects.toThrow("no such file");
    expect(news()).toEqual(["ready: up", "reloading 7", "ready: up"]);
  });
});
