/** What a change of a device asks the kernel for. */

import { describe, expect, it } from "vitest";
import { decodeLink } from "../../../../backends/netlink/link/link.ts";
import { NetlinkMessage } from "../../../../backends/netlink/message.ts";
import { encodeUpdateLink, type LinkObject } from "../../../../backends/state/kinds/link.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";
import { OWN, prepareVxlan } from "../../../support/vxlan-fixture.ts";

const link = prepareVxlan().planBase(OWN)[0] as LinkObject;
const names = {
  indexOf: () => 7,
  nameOf: () => "",
  nexthopId: () => undefined,
  assignNexthopId: () => 1,
  nexthopOf: () => undefined,
};

/** Hardware address, MTU and flags of each request; null for what it leaves alone. */
const requests = (actual: Partial<LinkObject>) =>
  encodeUpdateLink(link, { ...link, ...actual }, names).map((bytes) => {
    const decoded = decodeLink(new NetlinkMessage(bytes));
    return {
      mac: decoded?.mac ?? null,
      mtuBytes: decoded?.mtuBytes || null,
      changesState: Buffer.from(bytes).readUInt32LE(28) !== 0,
    };
  });

describe("an update of a device", () => {
  it("sends an MTU without the hardware address, which would flush the neighbours", () => {
    expect(requests({ mtuBytes: 1400 })).toEqual([
      { mac: null, mtuBytes: link.mtuBytes, changesState: false },
    ]);
  });

  it("sends a hardware address alone", () => {
    expect(requests({ mac: parseMac("02:00:00:00:00:77") })).toEqual([
      { mac: link.mac, mtuBytes: null, changesState: false },
    ]);
  });

  it("brings a device up without anything else", () => {
    expect(requests({ isUp: false })).toEqual([{ mac: null, mtuBytes: null, changesState: true }]);
  });

  it("sends nothing when nothing differs", () => {
    expect(requests({})).toEqual([]);
  });
});
