import { expect, test } from "vitest";
import { RunnerHost } from "../../../../agent/network/runner-host.ts";
import type { BackendRunner, RunnerDeps, RunnerTarget } from "../../../../backends/backend.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { NOTHING_KEPT } from "../../../support/nothing-kept.ts";

const TARGET: RunnerTarget = { own: {}, peers: new Map() };

function deps(): RunnerDeps {
  return {
    clock: new FakeClock(),
    random: () => 0,
    logger: silentLogger,
    faults: new Faults(silentLogger),
    stateDir: "/nowhere",
    descriptors: NOTHING_KEPT,
    onChange: () => undefined,
  };
}

/** A backend whose runner writes down what happens to it. */
function recordingBackend(name: string, log: string[]) {
  const startRunner = (): BackendRunner => {
    log.push(`${name} starts`);
    return {
      problems: [`${name} has a problem`],
      follow: () => void log.push(`${name} follows`),
      stop: async () => {
        await Promise.resolve();
        log.push(`${name} stops`);
      },
    };
  };
  return { startRunner };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

test("starts the runner when the base objects are in place, with the newest target", async () => {
  const log: string[] = [];
  const host = new RunnerHost(deps());
  const backend = recordingBackend("udp", log);
  host.follow([backend], () => TARGET);
  host.follow([backend], () => TARGET);
  await settled();
  expect(log).toEqual([]);
  host.open();
  await settled();
  expect(log).toEqual(["udp starts", "udp follows"]);
  host.follow([backend], () => TARGET);
  expect(log).toEqual(["udp starts", "udp follows", "udp follows"]);
  expect(host.problemsOf(backend)).toEqual(["udp has a problem"]);
  expect(host.isCarrier(backend)).toBe(false);
});

test("ends one runner before it starts the next", async () => {
  const log: string[] = [];
  const host = new RunnerHost(deps());
  host.open();
  host.follow([recordingBackend("one", log)], () => TARGET);
  await settled();
  host.follow([recordingBackend("two", log)], () => TARGET);
  await settled();
  host.follow([{ startRunner: null }], () => TARGET);
  await settled();
  expect(log).toEqual(["one starts", "one follows", "one stops", "two starts", "two follows", "two stops"]);
});

test("reports why a runner could not start, and goes on with another backend", async () => {
  const parts = deps();
  const host = new RunnerHost(parts);
  host.open();
  const failing = {
    startRunner: () => {
      throw new Error("no /dev/net/tun");
    },
  };
  host.follow([failing], () => TARGET);
  await settled();
  expect(host.problemsOf(failing)).toEqual(["no /dev/net/tun"]);
  expect(host.isCarrier(failing)).toBe(true);
  const two = recordingBackend("two", []);
  host.follow([two], () => TARGET);
  await settled();
  expect([host.problemsOf(failing), host.problemsOf(two)]).toEqual([[], ["two has a problem"]]);
});

test("ends the runner when it is closed, and starts none afterwards", async () => {
  const log: string[] = [];
  const host = new RunnerHost(deps());
  host.open();
  host.follow([recordingBackend("udp", log)], () => TARGET);
  await settled();
  await host.close();
  host.follow([recordingBackend("udp", log)], () => TARGET);
  await settled();
  expect(log).toEqual(["udp starts", "udp follows", "udp stops"]);
});
