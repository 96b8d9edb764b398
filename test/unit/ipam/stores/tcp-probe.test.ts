/** When a probe says that it is worth trying again. */

import { createServer } from "node:net";
import { expect, it } from "vitest";
import { systemClock } from "../../../../ipam/clock.ts";
import { connectionFailure } from "../../../../ipam/stores/failures.ts";
import { isRefusal, refusalOf, untilAccepting } from "../../../../ipam/stores/tcp-probe.ts";
import { freePorts } from "../../../support/daemon.ts";

const edges = { clock: systemClock, random: () => 0 };

it("tells when a port that refused accepts, and not before", async () => {
  const [port = 0] = await freePorts(1);
  const server = createServer();
  let isTold = false;
  const told = untilAccepting([{ host: "127.0.0.1", port }], edges, AbortSignal.timeout(5_000)).then(() => {
    isTold = true;
  });
  await systemClock.sleep(600, AbortSignal.timeout(5_000));
  expect(isTold).toBe(false);
  server.listen(port, "127.0.0.1");
  await told;
  server.close();
});

it("does not call back for a port that accepts from the beginning", async () => {
  const [closed = 0] = await freePorts(1);
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const targets = [port, closed].map((number) => ({ host: "127.0.0.1", port: number }));
  await expect(untilAccepting(targets, edges, AbortSignal.timeout(800))).rejects.toThrow();
  server.close();
});

it("names how a connection is refused, and nothing where it is not", async () => {
  const [port = 0] = await freePorts(1);
  const refusal = await refusalOf({ host: "127.0.0.1", port });
  expect(refusal).toMatchObject({ code: "ECONNREFUSED", message: `connect ECONNREFUSED 127.0.0.1:${port}` });
  expect(isRefusal(refusal?.message ?? "")).toBe(true);
  const server = createServer().listen(port, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  expect(await refusalOf({ host: "127.0.0.1", port })).toBeNull();
  server.close();
});

it.each([
  ["connect ECONNREFUSED 192.0.2.7:2379", "cannot connect to 192.0.2.7:2379"],
  ["ECONNREFUSED connect ECONNREFUSED [2001:db8::7]:8500", "cannot connect to [2001:db8::7]:8500"],
  ["connect ECONNREFUSED 127.0.0.1:2379", "connect ECONNREFUSED 127.0.0.1:2379"],
  ["connect ECONNREFUSED ::1:2379", "connect ECONNREFUSED ::1:2379"],
  ["connect ECONNREFUSED /run/consul.sock", "connect ECONNREFUSED /run/consul.sock"],
])("%j, by a runtime that tells failures of connections not apart, is %j", (text, shown) => {
  expect(connectionFailure(text, true)).toBe(shown);
  expect(connectionFailure(text, false)).toBe(text);
  expect(isRefusal(shown)).toBe(isRefusal(text));
});
