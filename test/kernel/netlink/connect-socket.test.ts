/** What the kernel says of TCP connections that are only tried, from this thread into another namespace. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { probeTcp } from "../../../agent/probes/tcp-probe.ts";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { ConnectSocket } from "../../../backends/probe/connect-socket.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const PORT = 9;

describeAsRoot("a TCP connection that is tried", () => {
  let here: TestNetns;
  let there: TestNetns;
  let handle: NetnsHandle;

  beforeAll(() => {
    here = createNetns("here");
    there = createNetns("there");
    here.ip(
      `link add eth0 type veth peer name eth0 netns ${there.name}`,
      "link set eth0 up",
      "link set lo up",
    );
    there.ip("link set eth0 up", "link set lo up", "address add 192.0.2.2/24 dev eth0");
    there.ip("address add 2001:db8::2/64 dev eth0 nodad");
    here.ip("address add 192.0.2.1/24 dev eth0", "address add 2001:db8::1/64 dev eth0 nodad");
    here.ip("route add unreachable 198.51.100.0/24");
    handle = NetnsHandle.open(here.path);
  });
  afterAll(() => {
    handle.close();
    here.dispose();
    there.dispose();
  });

  const outcomeAt = (text: string): Promise<number | string> =>
    new Promise((resolve) => {
      try {
        const socket = withNetns(handle, () => ConnectSocket.open(Address.parse(text), PORT));
        socket.onOutcome((errno) => {
          socket.close();
          resolve(errno === 0 ? "connected" : new NetlinkError("test", errno).errnoName);
        });
      } catch (error) {
        resolve(error instanceof NetlinkError ? `not sent: ${error.errnoName}` : String(error));
      }
    });
  const probe = (text: string): Promise<string> =>
    new Promise((resolve) => {
      withNetns(handle, () =>
        probeTcp(
          Address.parse(text),
          () => performance.now(),
          (outcome) => resolve(outcome.type === "error" ? outcome.text : outcome.type),
        ),
      );
    });

  it.each(["192.0.2.2", "2001:db8::2", "192.0.2.1"])(
    "is refused at a closed port of %s: an answer",
    async (target) => {
      expect(await outcomeAt(target)).toMatch(/ECONNREFUSED$/);
      expect(await probe(target)).toBe("answered");
    },
  );

  it("is made where something listens", async () => {
    const listener = spawn("ip", [
      ...["netns", "exec", there.name, process.execPath, "-e"],
      `require("node:net").createServer((s) => s.on("error", () => {})).listen(${PORT}, "192.0.2.2", () => console.log("up"))`,
    ]);
    try {
      await once(listener.stdout, "data");
      expect(await outcomeAt("192.0.2.2")).toBe("connected");
      expect(await probe("192.0.2.2")).toBe("answered");
    } finally {
      listener.kill();
      await once(listener, "exit");
    }
  });

  it("is not sent without a route", async () => {
    expect(await outcomeAt("198.51.100.1")).toBe("not sent: EHOSTUNREACH");
    expect(await probe("198.51.100.1")).toBe("EHOSTUNREACH");
    expect(await outcomeAt("203.0.113.1")).toBe("not sent: ENETUNREACH");
  });

  it.each([
    ["reject with icmp type admin-prohibited", "EHOSTUNREACH"],
    ["drop", "silent"],
  ])("tells what a firewall that says '%s' does", async (verdict, expected) => {
    there.exec("nft", [
      "add table inet t; add chain inet t c { type filter hook input priority 0; }; " +
        `add rule inet t c ip protocol tcp ${verdict}`,
    ]);
    try {
      expect(await probe("192.0.2.2")).toBe(expected);
    } finally {
      there.exec("nft", ["delete table inet t"]);
    }
  });

  it("leaves no descriptor behind", async () => {
    await probe("192.0.2.2");
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    for (let count = 0; count < 50; count++) await probe("192.0.2.2");
    expect(open()).toBeLessThanOrEqual(before);
  });
});
