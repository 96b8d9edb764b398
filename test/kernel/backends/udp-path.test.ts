/** The udp backend's data path with real packets: ours to ours, a peer played by hand, and packets that must not pass. */

import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { bundlePathProgram, type PathProgram } from "../../support/path-program.ts";
import { ping } from "../../support/ping.ts";
import { createLan, MTU_BYTES, startUdpHost, type UdpHost, udpLease } from "../../support/udp-hosts.ts";

const FAMILIES = [4, 6] as const;

describeAsRoot("the data path of the udp backend", () => {
  let program: PathProgram;
  let lan: TestNetns;
  let one: UdpHost;
  let two: UdpHost;

  beforeAll(async () => {
    program = await bundlePathProgram();
    lan = createLan();
    one = startUdpHost(lan, 1, program.url, [udpLease(2, { families: FAMILIES })]);
    two = startUdpHost(lan, 2, program.url, [udpLease(1, { families: FAMILIES })]);
    await vi.waitFor(() => expect([...one.runner.problems, ...two.runner.problems]).toEqual([]), 10_000);
  });

  afterAll(async () => {
    await one?.dispose();
    await two?.dispose();
    lan?.dispose();
    program?.dispose();
  });

  it("carries packets of both families, small and as large as the device's MTU", async () => {
    expect(await ping(one.container, "10.2.2.2", 20)).toMatchObject({ lost: [] });
    expect(await ping(one.container, "10.2.2.2", 5, { payloadBytes: MTU_BYTES - 28 })).toMatchObject({
      lost: [],
    });
    expect(await ping(two.container, "fd00:2:0:1::2", 20)).toMatchObject({ lost: [] });
  });
});
