/** What a call asks for, where one part of it limits another. */

import { expect, it } from "vitest";
import { planAttachment } from "../../../cni-plugin/config/plan.ts";
import { parseSubnetEnv } from "../../../ipam/config/subnet-env.ts";
import type { JsonObject } from "../../../ipam/json.ts";

const V4 = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\n";
const V6 = "FLANNEL_IPV6_NETWORK=fd00:5::/48\nFLANNEL_IPV6_SUBNET=fd00:5:0:72::1/64\n";
const REST = "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

const plan = (delegate: JsonObject, env = V4 + V6 + REST) =>
  planAttachment({ config: { name: "cbr0", delegate }, args: "" }, parseSubnetEnv(env));

it("rejects an MTU that is too small for a family of the host's subnet", () => {
  const rejection = (leastBytes: number) =>
    expect.objectContaining({ cniCode: 7, message: expect.stringContaining(`give ${leastBytes} or more`) });
  expect(() => plan({ mtu: 1279 })).toThrow(rejection(1280));
  expect(() => plan({ mtu: 67 }, V4 + REST)).toThrow(rejection(68));
  for (const mtu of [0, 1280]) expect(plan({ mtu })).toMatchObject({ options: { mtuBytes: mtu } });
  expect(plan({ mtu: 1279 }, V4 + REST)).toMatchObject({ options: { mtuBytes: 1279 } });
});
