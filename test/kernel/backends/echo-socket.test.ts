/** Echo requests through both kinds of socket, in both families. */

import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { EchoSocket, type EchoSocketOptions } from "../../../backends/probe/echo-socket.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const PAYLOAD = Buffer.from("tulle echo");
/** ip-sysctl.rst: no group may open datagram sockets of ICMP, or every group may. */
const GROUPS = { raw: "1 0", datagram: "0 2147483647" } as const;

describeAsRoot("echo socket", () => {
  let left: TestNetns;
  let right: TestNetns;
  let netns: NetnsHandle;

  beforeEach(() => {
    left = createNetns("echo");
    right = createNetns("echo");
    left.ip(
      `link add eth0 type veth peer name eth0 netns ${right.name}`,
      "address add 10.9.0.1/24 dev eth0",
      "address add fd00:9::1/64 dev eth0 nodad",
      "link set eth0 up mtu 1400",
      "route add 10.10.0.0/16 via 10.9.0.2",
    );
    right.ip(
      "address add 10.9.0.2/24 dev eth0",
      "address add fd00:9::2/64 dev eth0 nodad",
      "link set eth0 up",
    );
    netns = NetnsHandle.open(left.path);
  });
  afterEach(() => {
    netns.close();
    left.dispose();
    right.dispose();
  });

  describe.each(["raw", "datagram"] as const)("%s", (kind) => {
    const open = (options: Omit<EchoSocketOptions, "id" | "netns">): EchoSocket => {
      withNetns(netns, () => writeFileSync("/proc/sys/net/ipv4/ping_group_range", GROUPS[kind]));
      return EchoSocket.open({ ...options, netns, id: 4711 });
    };

    it.each(["10.9.0.2", "fd00:9::2"])("%s answers with sequence and payload", async (target) => {
      const socket = open({ target: Address.parse(target) });
      const other = open({ target: Address.parse(target) });
      try {
        const replies: string[] = [];
        socket.onReadable(() => {
          for (let reply = socket.receive(); reply !== null; reply = socket.receive()) {
            replies.push(`${reply.sequence} ${Buffer.from(reply.payload)}`);
          }
        });
        socket.send(1, PAYLOAD);
        socket.send(65_535, PAYLOAD);
        await expect.poll(() => replies, { timeout: 20_000 }).toEqual(["1 tulle echo", "65535 tulle echo"]);
      } finally {
        socket.close();
        other.close();
      }
    });

    it("does not fragment when told so", () => {
      const socket = open({ target: Address.parse("10.9.0.2"), dontFragment: true });
      try {
        socket.send(1, Buffer.alloc(1400 - 28));
        expect(() => socket.send(2, Buffer.alloc(1400 - 27))).toThrow("EMSGSIZE");
      } finally {
        socket.close();
      }
    });

    it("reports what the network says of an address without a route", () => {
      expect(() => open({ target: Address.parse("172.16.0.1") })).toThrow("ENETUNREACH");
    });

    it("sends from the address that it is given", () => {
      expect(() => open({ target: Address.parse("10.9.0.2"), source: Address.parse("10.9.0.77") })).toThrow(
        "bind to 10.9.0.77",
      );
      open({ target: Address.parse("10.9.0.2"), source: Address.parse("10.9.0.1") }).close();
    });
  });
});
