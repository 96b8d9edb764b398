/** What a starting host knows of its last run, and how it waits for its first interface. */

import { expect, it } from "vitest";
import { priorUse } from "../../../../agent/network/attachment.ts";
import { waitForInterface } from "../../../../agent/network/wait-for-interface.ts";
import { Prefix } from "../../../../ipam/addresses/ip.ts";
import { ConfigError, InterfaceError } from "../../../../ipam/errors.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { recordingLogger } from "../../../support/lease-fixture.ts";

const NODE_ID = "0123456789abcdef0123456789abcdef";
const subnet = Prefix.parse("10.2.5.0/24");
const entry = (key: string, publicIp: string, more: object = {}) => ({
  key,
  value: JSON.stringify({ PublicIP: publicIp, BackendType: "vxlan", BackendData: {}, ...more }),
  revision: "1",
  createRevision: "1",
  ttlSeconds: 60,
});

it("finds this host's lease by node id and by the subnet of the last run", () => {
  const entries = [
    entry("10.2.4.0-24", "192.0.2.4"),
    entry("10.2.5.0-24", "192.0.2.5"),
    entry("10.2.6.0-24", "192.0.2.6", { NodeID: NODE_ID }),
    { ...entry("10.2.7.0-24", ""), value: `damaged ${NODE_ID}` },
  ];
  const addresses = (last: { 4: Prefix } | null) =>
    priorUse(entries as never, NODE_ID, last).leaseAddresses.map(String);
  expect(addresses({ 4: subnet })).toEqual(["192.0.2.5", "192.0.2.6"]);
  expect(addresses(null)).toEqual(["192.0.2.6"]);
  expect(priorUse([], NODE_ID, { 4: subnet })).toEqual({
    present: null,
    subnets: [subnet],
    leaseAddresses: [],
  });
});

it("retries while an interface may come, and logs it once", async () => {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const outcomes = [true, true, false].map((retryable) => new InterfaceError("no interface", { retryable }));
  const wait = waitForInterface({ clock, logger }, new AbortController().signal, () => {
    throw outcomes.shift();
  });
  const ended = expect(wait).rejects.toMatchObject({ code: "TULLE_INTERFACE", retryable: false });
  await clock.advance(5000);
  await ended;
  expect(logger.lines).toHaveLength(1);
});

it("returns the choice and passes other errors on, and the end of the daemon", async () => {
  const parts = { clock: new FakeClock(), logger: recordingLogger() };
  const { signal } = new AbortController();
  expect(await waitForInterface(parts, signal, () => "eth0")).toBe("eth0");
  const wrong = new ConfigError("wrong");
  await expect(
    waitForInterface(parts, signal, () => {
      throw wrong;
    }),
  ).rejects.toBe(wrong);
  const none = new InterfaceError("none", { retryable: true });
  const stopped = AbortSignal.abort(new Error("stopped"));
  await expect(
    waitForInterface(parts, stopped, () => {
      throw none;
    }),
  ).rejects.toThrow("stopped");
});
