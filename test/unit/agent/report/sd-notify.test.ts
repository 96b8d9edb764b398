import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { openNotifier } from "../../../../agent/report/sd-notify.ts";

/** A service manager's end: prints each datagram as one line of JSON, and reads from each descriptor that comes with it. */
const RECEIVER = `
import os, socket, sys, json
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + sys.argv[1])
print("up", flush=True)
while True:
    data, descriptors, flags, address = socket.recv_fds(s, 65536, 4)
    print(json.dumps(data.decode() + "".join(os.pread(fd, 100, 0).decode() for fd in descriptors)), flush=True)
`;

let receiver: ChildProcess | null = null;
afterEach(() => {
  receiver?.kill();
});

/** Starts it on an abstract socket; answers a reader of what it prints. */
async function startReceiver(name: string): Promise<(count: number) => Promise<string[]>> {
  const child = spawn("python3", ["-c", RECEIVER, name], { stdio: ["ignore", "pipe", "inherit"] });
  receiver = child;
  const printed = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const lines = async (count: number): Promise<string[]> => {
    const found: string[] = [];
    while (found.length < count) {
      const { value, done } = await printed.next();
      if (done === true) throw new Error(`the receiver ended after ${found.length} lines`);
      found.push(value);
    }
    return found;
  };
  await lines(1);
  return lines;
}

describe("sd_notify", () => {
  it("speaks to an abstract socket", async () => {
    const name = `tulle-notify-${process.pid}`;
    const lines = await startReceiver(name);
    const notifier = openNotifier({ NOTIFY_SOCKET: `@${name}`, WATCHDOG_USEC: "3000000" }, 7);
    expect(notifier.watchdogMs).toBe(3000);
    notifier.ready("3 peers\nX=1");
    notifier.status("busy");
    notifier.reloading(1.5);
    notifier.watchdog();
    notifier.stopping();
    expect((await lines(5)).map((line) => JSON.parse(line))).toEqual([
      "READY=1\nSTATUS=3 peers X=1\n",
      "STATUS=busy\n",
      "RELOADING=1\nMONOTONIC_USEC=1500\n",
      "WATCHDOG=1\n",
      "STOPPING=1\n",
    ]);
    notifier.close();
  });

  it("passes a descriptor on", async () => {
    const name = `tulle-notify-fd-${process.pid}`;
    const lines = await startReceiver(name);
    const directory = mkdtempSync(join(tmpdir(), "tulle-notify-"));
    const path = join(directory, "file");
    writeFileSync(path, "of this file");
    const fd = openSync(path, "r");
    const notifier = openNotifier({ NOTIFY_SOCKET: `@${name}` }, 7);
    notifier.keep("path-flannel0", fd);
    closeSync(fd);
    notifier.forget("path-flannel0");
    expect((await lines(2)).map((line) => JSON.parse(line))).toEqual([
      "FDSTORE=1\nFDNAME=path-flannel0\nof this file",
      "FDSTOREREMOVE=1\nFDNAME=path-flannel0\n",
    ]);
    notifier.close();
    rmSync(directory, { recursive: true });
  });

  it.each([{}, { NOTIFY_SOCKET: "relative" }, { NOTIFY_SOCKET: "/nonexistent/socket" }])(
    "does nothing without a manager: %j",
    (environment) => {
      const notifier = openNotifier({ ...environment, WATCHDOG_USEC: "1000" }, 7);
      notifier.ready("x");
      expect(notifier.watchdogMs).toBeNull();
      notifier.close();
    },
  );
});
