import { expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import type { EndpointRecord } from "../../../../agent/docker-driver/records.ts";
import { SegmentLinks, type SegmentLinksOptions } from "../../../../agent/docker-driver/segment-links.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { testNetwork } from "../../../support/segment-lab.ts";

it("says why a container cannot have IPv6 where the underlay carries too little for it", async () => {
  const links = new SegmentLinks({
    ...{ netlink: {}, clock: systemClock, changes: new Changes(systemClock) },
    segments: () => ({ ready: async () => ({ bridge: "tb-1001", mtuBytes: 1230 }) }),
  } as unknown as SegmentLinksOptions);
  const record = { addresses: { 6: Address.parse("fd00:1::14") } } as unknown as EndpointRecord;
  await expect(links.add(testNetwork(1), record, new AbortController().signal)).rejects.toThrow(
    "IPv6 needs an MTU of 1280, and containers of this host have 1230",
  );
});
