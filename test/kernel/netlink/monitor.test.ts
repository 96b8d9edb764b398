/** Notifications, their loss, our own echoes, and namespaces. */

import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import {
  decodeLink,
  encodeGetLink,
  encodeNewLink,
  encodeSetLink,
} from "../../../backends/netlink/link/link.ts";
import { NetlinkMonitor } from "../../../backends/netlink/monitor.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { decodeRoute, encodeDeleteRoute, encodeNewRoute } from "../../../backends/netlink/route.ts";
import {
  RTM_NEWLINK,
  RTM_NEWROUTE,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_LINK,
} from "../../../backends/netlink/rtnetlink.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

describeAsRoot("netlink monitor and namespaces", () => {
  let host: TestNetns;
  let handle: NetnsHandle;
  let connection: NetlinkConnection;

  beforeAll(() => {
    host = createNetns("nl-monitor");
    handle = NetnsHandle.open(host.path);
    connection = NetlinkConnection.open({ netns: handle });
    connection.request(encodeNewLink({ name: "br0", isUp: true, info: { kind: "bridge" } }));
  });

  afterAll(() => {
    connection?.close();
    handle?.close();
    host?.dispose();
  });

  it("sees changes of others, and of its own those of links only", async () => {
    const seen: string[] = [];
    const onError = vi.fn();
    const index = connection.get(encodeGetLink({ name: "br0" }), decodeLink).index;
    const monitor = NetlinkMonitor.open({
      netns: handle,
      groups: [RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE],
      ownPorts: connection.portIds,
      onMessages: (messages) => {
        for (const message of messages) {
          if (message.type === RTM_NEWLINK) seen.push(`mtu ${decodeLink(message)?.mtuBytes}`);
          if (message.type === RTM_NEWROUTE) seen.push(`${decodeRoute(message)?.destination}`);
        }
      },
      onOverflow: vi.fn(),
      onError,
    });
    connection.request(encodeNewRoute({ destination: Prefix.parse("10.8.1.0/24"), outputIndex: index }));
    connection.request(encodeSetLink(index, { mtuBytes: 1401 }));
    host.exec("ip", ["route", "add", "10.8.2.0/24", "dev", "br0"]);
    host.exec("ip", ["link", "set", "br0", "mtu", "1402"]);
    await vi.waitFor(() => expect(seen).toContain("mtu 1402"));
    expect(seen.filter((what, at) => seen.indexOf(what) === at)).toEqual([
      "mtu 1401",
      "10.8.2.0/24",
      "mtu 1402",
    ]);
    monitor.close();
    monitor.close();
    expect(onError).not.toHaveBeenCalled();
  });

  it("says so when notifications were lost", async () => {
    const onOverflow = vi.fn();
    const onMessages = vi.fn();
    const monitor = NetlinkMonitor.open({
      netns: handle,
      groups: [RTNLGRP_IPV4_ROUTE],
      onMessages,
      onOverflow,
      onError: vi.fn(),
    });
    const index = connection.get(encodeGetLink({ name: "br0" }), decodeLink).index;
    overflow(connection, index);
    await vi.waitFor(() => expect(onOverflow).toHaveBeenCalled());
    monitor.close();
  });

  it("sees every change from the report of a loss on, and none from before it", async () => {
    const index = connection.get(encodeGetLink({ name: "br0" }), decodeLink).index;
    const late = { destination: Prefix.parse("10.8.3.0/24"), outputIndex: index };
    const seen = { early: 0, late: 0 };
    const onOverflow = vi.fn(() => {
      seen.early = 0;
      connection.request(encodeNewRoute(late));
    });
    const monitor = NetlinkMonitor.open({
      netns: handle,
      groups: [RTNLGRP_IPV4_ROUTE],
      onMessages: (messages) => {
        for (const message of messages)
          if (decodeRoute(message)?.destination.equals(late.destination)) seen.late++;
          else seen.early++;
      },
      onOverflow,
      onError: vi.fn(),
    });
    overflow(connection, index);
    await vi.waitFor(() => expect(seen.late).toBe(1));
    expect(onOverflow).toHaveBeenCalledOnce();
    expect(seen.early).toBe(0);
    // A later turn of the event loop.
    connection.request(encodeDeleteRoute(late));
    await vi.waitFor(() => expect(seen.late).toBe(2));
    monitor.close();
  });

  it("returns to its own namespace, also when the body throws", () => {
    const before = NetnsHandle.own();
    const inside = withNetns(handle, () => NetnsHandle.own());
    expect(inside.identity).toBe(handle.identity);
    expect(() =>
      withNetns(handle, () => {
        throw new Error("body");
      }),
    ).toThrow("body");
    const after = NetnsHandle.own();
    expect(after.identity).toBe(before.identity);
    expect(after.identity).not.toBe(inside.identity);
    for (const one of [before, inside, after]) one.close();
  });

  it("names what it could not open", () => {
    expect(() => NetnsHandle.open("/run/netns/tulle-nl-absent")).toThrow(
      expect.objectContaining({ code: "TULLE_NETLINK", errnoName: "ENOENT" }),
    );
  });
});

/** Makes more changes than a monitor's buffer holds. The event loop is not entered in between, so that it cannot read. */
function overflow(connection: NetlinkConnection, index: number): void {
  const specs = Array.from({ length: 5000 }, (_, at) => ({
    destination: Prefix.of(Address.of(4, (20n << 24n) + (BigInt(at) << 8n)), 24),
    outputIndex: index,
  }));
  for (let round = 0; round < 4; round++) {
    connection.batch(specs.map((spec) => encodeNewRoute(spec)));
    connection.batch(specs.map((spec) => encodeDeleteRoute(spec)));
  }
}
