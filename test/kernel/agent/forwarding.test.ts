/** What keeps a host from forwarding its containers' packets, by the real kernel's settings and devices. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { forwardingTroubles } from "../../../agent/probes/forwarding.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const OWN = { 4: Prefix.parse("10.2.1.0/24"), 6: Prefix.parse("fd00:2:1::/64") };

describeAsRoot("a host with containers", () => {
  let netns: TestNetns;
  let handle: NetnsHandle;
  let connection: NetlinkConnection;

  beforeEach(() => {
    netns = createNetns("forwarding");
    sysctl("ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1", "ipv6.conf.default.accept_dad=0");
    netns.ip(
      "link add docker0 type bridge",
      "link add flannel.1 type bridge",
      "address add 10.2.1.1/24 dev docker0",
      "address add fd00:2:1::1/64 dev docker0",
      "address add 10.2.1.0/32 dev flannel.1",
      "link set docker0 up",
      "link set flannel.1 up",
    );
    handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
  });
  afterEach(() => {
    connection.close();
    handle.close();
    netns.dispose();
  });

  const sysctl = (...settings: readonly string[]): void => {
    netns.exec("sysctl", ["-qw", ...settings.map((one) => `net.${one}`)]);
  };
  const troubles = (): readonly string[] =>
    withNetns(handle, () => forwardingTroubles(connection, OWN)).map(({ code, text }) => `${code}: ${text}`);
  const notForwarded = "forwarding-off: this host does not forward its containers' packets:";

  it("has no trouble while it forwards, with a bridge that no container has joined", () => {
    expect(troubles()).toEqual([]);
    netns.ip("link set docker0 down");
    expect(troubles()).toEqual([]);
  });

  it("names the settings of the host", () => {
    sysctl("ipv4.ip_forward=0", "ipv6.conf.all.forwarding=0");
    expect(troubles()).toEqual([
      `${notForwarded} net.ipv4.ip_forward and net.ipv6.conf.all.forwarding are 0`,
    ]);
    netns.ip("address delete 10.2.1.1/24 dev docker0", "address delete fd00:2:1::1/64 dev docker0");
    expect(troubles()).toEqual([]);
  });

  it.each([
    ["docker0", "docker0"],
    ["flannel/1", "flannel/1"],
  ])("names the setting of %s", (device, shown) => {
    sysctl(`ipv4.conf.${device}.forwarding=0`);
    expect(troubles()).toEqual([`${notForwarded} net.ipv4.conf.${shown}.forwarding is 0`]);
    sysctl(`ipv4.conf.${device}.forwarding=1`, `ipv6.conf.${device}.forwarding=0`);
    expect(troubles()).toEqual([]);
  });

  it("names a bridge that is down although containers have joined it", () => {
    netns.ip("link add veth1 type veth peer name veth2", "link set veth1 master docker0");
    expect(troubles()).toEqual([]);
    netns.ip("link set docker0 down");
    expect(troubles()).toEqual([
      "bridge-down: no packet reaches or leaves this host's containers: docker0 is down",
    ]);
  });
});
