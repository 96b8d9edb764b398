/** What is said when the host cannot be followed. */

import { afterEach, expect, it } from "vitest";
import { HostWatch } from "../../../../agent/host/host-watch.ts";
import { InterfaceError } from "../../../../ipam/errors.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

const stop = new AbortController();
afterEach(() => stop.abort());

it("blames the interface for its own failures alone", async () => {
  const clock = new FakeClock();
  const logger = recordingLogger();
  let failure: Error | null = new InterfaceError("interface eth0 has no IPv4 address");
  const follow = async (): Promise<void> => {
    if (failure !== null) throw failure;
  };
  const watch = new HostWatch({ clock, logger, problem: null, follow });
  void watch.run(stop.signal);
  const look = async () => {
    watch.changed();
    await clock.advance(100);
    return { problem: watch.problem, said: logger.lines.at(-1)?.message };
  };
  const isUnusable = "interface cannot be used; device, routes and address of its family stay as they are";
  expect(await look()).toEqual({ problem: "interface eth0 has no IPv4 address", said: isUnusable });
  failure = new Error("ENOSPC: no space left on device, write");
  const isLost = "changes of this host's interfaces cannot be followed; retried";
  expect(await look()).toEqual({
    problem: "changes of this host's interfaces cannot be followed: ENOSPC: no space left on device, write",
    said: isLost,
  });
  failure = null;
  expect(await look()).toEqual({ problem: null, said: "changes of this host's interfaces are followed" });
});
