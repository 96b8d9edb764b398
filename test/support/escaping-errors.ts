/**
 * A process in which every kind of callback that a daemon registers throws once, for tests of what catches it. Prints a
 * JSON line with what was noted.
 */

import { execFileSync, spawn } from "node:child_process";
import { EventEmitter } from "node:events";
import { mkdtempSync, openSync, rmSync, watch, writeFileSync, writeSync } from "node:fs";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { catchStrayErrors } from "../../agent/report/stray-errors.ts";
import { watchReadable } from "../../backends/netlink/libc.ts";
import { Sleep, systemClock } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { Faults, guarded } from "../../ipam/faults.ts";
import { silentLogger } from "../../ipam/log.ts";

const noted: string[] = [];
const recoveries: string[] = [];
class NotingFaults extends Faults {
  override failed(part: string, error: unknown): void {
    super.failed(part, error);
    noted.push(errorMessage(error));
  }
}
const faults = new NotingFaults(silentLogger);
const recover = (reason: string): void => {
  if (recoveries.push(reason) === 1) throw new Error("recovery");
};
catchStrayErrors({ faults, clock: systemClock, recover }, new AbortController().signal);

const fail = (kind: string): never => {
  throw new Error(kind);
};

const directory = mkdtempSync(join(tmpdir(), "tulle-escape-"));
const server = createServer(() => fail("request"));

setTimeout(() => fail("timeout"), 1);
const interval = setInterval(() => {
  clearInterval(interval);
  fail("interval");
}, 1);
setImmediate(() => fail("immediate"));
setImmediate(guarded(faults, "a part", () => fail("guarded callback")));
queueMicrotask(() => fail("microtask"));
process.nextTick(() => fail("tick"));
void Promise.reject(new Error("promise"));
void (async () => fail("async function"))();
void new Sleep(systemClock).for(1, new AbortController().signal).then(() => fail("sleep"));
setImmediate(() => new EventEmitter().emit("error", new Error("event without a listener")));
const watcher = watch(directory, () => {
  watcher.close();
  fail("watch");
});
writeFileSync(join(directory, "file"), "");
spawn("true").on("close", () => fail("child"));
spawn("/nonexistent/program");
const fifo = join(directory, "fifo");
execFileSync("mkfifo", [fifo]);
const descriptor = openSync(fifo, "r+");
writeSync(descriptor, "x");
const poll = watchReadable(descriptor, () => {
  poll.close();
  fail("netlink event");
});
process.once("SIGUSR2", () => fail("signal"));
process.kill(process.pid, "SIGUSR2");
const abort = new AbortController();
abort.signal.addEventListener("abort", () => fail("abort"));
abort.abort();
server.listen(0, "127.0.0.1", () => {
  get({ port: (server.address() as AddressInfo).port }).on("error", () => undefined);
});

for (let turn = 0; turn < 200 && (noted.length < 18 || recoveries.length < 3); turn++) await sleep(50);
server.closeAllConnections();
server.close();
rmSync(directory, { recursive: true });
process.stdout.write(`${JSON.stringify({ noted, recoveries, problems: faults.problems })}\n`);
process.exit(0);
