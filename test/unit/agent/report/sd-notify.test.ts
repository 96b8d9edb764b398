import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { openNotifier } from "../../../../agent/report/sd-notify.ts";

/** A service manager's end: prints each datagram as one line of JSON. */
const RECEIVER = `
import socket, sys, json
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + sys.argv[1])
print("up", flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`;

let receiver: ChildProcess | null = null;
afterEach(() => {
  receiver?.kill();
});

async function lines(child: ChildProcess, count: number): Promise<string[]> {
  let text = "";
  while (text.split("\n").length <= count) {
    if (child.stdout === null) throw new Error("no output");
    const [chunk] = await once(child.stdout, "data");
    text += String(chunk);
  }
  return text.trim().split("\n");
}

describe("sd_notify", () => {
  it("speaks to an abstract socket", async () => {
    const name = `tulle-notify-${process.pid}`;
    receiver = spawn("python3", ["-c", RECEIVER, name], { stdio: ["ignore", "pipe", "inherit"] });
    await lines(receiver, 1);
    const notifier = openNotifier({ NOTIFY_SOCKET: `@${name}`, WATCHDOG_USEC: "3000000" }, 7);
    expect(notifier.watchdogMs).toBe(3000);
    notifier.ready("3 peers\nX=1");
    notifier.status("busy");
    notifier.reloading(1.5);
    notifier.watchdog();
    notifier.stopping();
    expect((await lines(receiver, 5)).map((line) => JSON.parse(line))).toEqual([
      "READY=1\nSTATUS=3 peers X=1\n",
      "STATUS=busy\n",
      "RELOADING=1\nMONOTONIC_USEC=1500\n",
      "WATCHDOG=1\n",
      "STOPPING=1\n",
    ]);
    notifier.close();
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
