/** Foreign routes that take a part of a peer's subnet, as the kernel shows them, and who is told. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { LongerRoutes } from "../../../agent/probes/longer-routes.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import { Faults } from "../../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../../ipam/leases/lease.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const BOTH = "10.2.3.0-24&fd00:2:0:3::-64" as LeaseKey;
const ONE = "10.2.4.0-24" as LeaseKey;
const lease = (key: LeaseKey, subnets: Lease["subnets"]): [LeaseKey, Lease] => [
  key,
  // Only what the look reads.
  { key, subnets } as Lease,
];

describeAsRoot("longer routes", () => {
  const clock = new FakeClock();
  let netns: TestNetns;
  let connection: NetlinkConnection;
  let longer: LongerRoutes;
  let changes = 0;
  const stop = new AbortController();

  beforeEach(() => {
    netns = createNetns("longer");
    netns.ip("link add eth1 type bridge", "link set eth1 up");
    const handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
    handle.close();
    longer = new LongerRoutes({
      ...{ clock, faults: new Faults(silentLogger), logger: silentLogger, netlink: connection },
      onChange: () => {
        changes += 1;
      },
      network: () => ({
        backend: { devices: ["flannel.1"], pathTo: () => "tunnel" },
        peers: new Map([
          lease(BOTH, { 4: Prefix.parse("10.2.3.0/24"), 6: Prefix.parse("fd00:2:0:3::/64") }),
          lease(ONE, { 4: Prefix.parse("10.2.4.0/24") }),
        ]),
        interfaces: ["eth0"],
        subnets: { 4: Prefix.parse("10.2.1.0/24"), 6: Prefix.parse("fd00:2:0:1::/64") },
      }),
    });
    void longer.run(stop.signal);
  });
  afterEach(() => {
    stop.abort();
    connection.close();
    netns.dispose();
  });

  it("are told of when they come and go, with the family that they concern", async () => {
    const look = async (...lines: readonly string[]) => {
      netns.ip(...lines);
      changes = 0;
      await clock.advance(30_000);
      return [changes, longer.causeOf(BOTH)?.family, longer.causeOf(ONE)?.family];
    };
    expect(await look()).toEqual([0, undefined, undefined]);
    expect(await look("route add 10.2.3.0/25 dev eth1")).toEqual([1, 4, undefined]);
    expect(await look()).toEqual([0, 4, undefined]);
    expect(await look("route add fd00:2:0:3::/80 dev eth1")).toEqual([1, null, undefined]);
    expect(await look("route add 10.2.4.0/25 dev eth1", "route del 10.2.3.0/25 dev eth1")).toEqual([
      1,
      6,
      null,
    ]);
    expect(await look("route del 10.2.4.0/25 dev eth1", "route del fd00:2:0:3::/80 dev eth1")).toEqual([
      1,
      undefined,
      undefined,
    ]);
  });
});
