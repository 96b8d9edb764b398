/** Ways to harm a host, one per kind of object, quick enough that the harm itself does not count. */

import { writeFileSync } from "node:fs";
import { encodeDeleteAddress } from "../../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import {
  decodeLink,
  encodeDeleteLink,
  encodeGetLink,
  encodeSetLink,
} from "../../../backends/netlink/link/link.ts";
import {
  encodeDeleteFdb,
  encodeDeleteNeighbour,
  encodeNewNeighbour,
} from "../../../backends/netlink/neighbour.ts";
import { withNetns } from "../../../backends/netlink/netns.ts";
import { decodeNexthop, encodeDeleteNexthop, encodeNexthopDump } from "../../../backends/netlink/nexthop.ts";
import { encodeDeleteRoute } from "../../../backends/netlink/route.ts";
import type { ObjectKind } from "../../../backends/state/kinds/registry.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { OWN, peer } from "../../support/vxlan-fixture.ts";
import type { VxlanHost } from "../../support/vxlan-host.ts";

export interface Damage {
  readonly name: string;
  /** What has been repaired when all is well again. */
  readonly kind: ObjectKind;
  /** Does it, each round to another object where there are many. */
  readonly cause: (round: number) => void | Promise<void>;
}

/** `other` is another program's connection. */
export function damages({ handle }: VxlanHost, other: NetlinkConnection): readonly Damage[] {
  const device = (): number => other.get(encodeGetLink({ name: "flannel.1" }), decodeLink).index;
  const subnet = (round: number): Prefix => peer(round + 2).subnets[4] ?? Prefix.parse("10.2.2.0/24");
  const macOf = (round: number) => parseMac(`02:00:00:01:00:${(round + 2).toString(16).padStart(2, "0")}`);
  const settings = "/proc/sys/net/ipv4/conf/flannel.1/forwarding";
  return [
    {
      name: "a deleted route",
      kind: "route",
      cause: (round) => other.request(encodeDeleteRoute({ destination: subnet(round), protocol: 116 })),
    },
    {
      name: "a deleted neighbour",
      kind: "neighbour",
      cause: (round) =>
        other.request(encodeDeleteNeighbour({ interfaceIndex: device(), address: subnet(round).base })),
    },
    {
      name: "a neighbour with another MAC",
      kind: "neighbour",
      cause: (round) => {
        const mac = parseMac("02:0f:00:00:00:01");
        other.request(
          encodeNewNeighbour({ interfaceIndex: device(), address: subnet(round + 30).base, mac }),
        );
      },
    },
    {
      name: "a deleted FDB entry",
      kind: "fdb",
      cause: (round) => other.request(encodeDeleteFdb({ interfaceIndex: device(), mac: macOf(round) })),
    },
    {
      name: "a deleted nexthop object and its route",
      kind: "route",
      cause: (round) => {
        const gateway = subnet(round).base;
        const nexthop = other
          .dump(encodeNexthopDump(), decodeNexthop)
          .find((one) => one.gateway?.equals(gateway));
        // Few peers have plain routes.
        if (nexthop === undefined) other.request(encodeDeleteRoute({ destination: subnet(round) }));
        else other.request(encodeDeleteNexthop(nexthop.id));
      },
    },
    {
      name: "a deleted address",
      kind: "address",
      cause: () => {
        const address = OWN[4]?.base ?? Address.parse("10.2.1.0");
        other.request(encodeDeleteAddress({ interfaceIndex: device(), address, length: 32 }));
      },
    },
    {
      name: "a setting",
      kind: "sysctl",
      cause: () => withNetns(handle, () => writeFileSync(settings, "0")),
    },
    {
      name: "another MTU",
      kind: "link",
      cause: () => other.request(encodeSetLink(device(), { mtuBytes: 1400 })),
    },
    {
      name: "the device down",
      // What went with it is not counted on its own.
      kind: "link",
      cause: () => other.request(encodeSetLink(device(), { isUp: false })),
    },
    {
      name: "the device deleted, with all entries",
      kind: "link",
      cause: () => other.requestAsync(encodeDeleteLink({ index: device() })),
    },
  ];
}
