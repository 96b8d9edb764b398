/** Network configurations with IPv6, and what containers of both families must do. */

import { expect } from "vitest";
import { type Container, ping } from "./hosts.ts";

/** Beyond SubnetMax is what others put into the network. */
const IPV4 = { Network: "10.2.0.0/16", SubnetMax: "10.2.63.0" };

export const BOTH = {
  ...IPV4,
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};
export const ONLY_IPV4 = { ...IPV4, Backend: { Type: "vxlan" } };
export const ONLY_IPV6 = {
  EnableIPv4: false,
  EnableIPv6: true,
  IPv6Network: "fd00:2::/48",
  Backend: { Type: "vxlan" },
};

/** Pings every address of a container; no packet may be lost. */
export async function expectReach(from: Container, to: Container): Promise<void> {
  for (const address of Object.values(to.addresses))
    expect(await ping(from.netns, address, 5)).toMatchObject({ lost: [] });
}
