/** Whether a host gives containers IPv6 on a bridge of its own: not where any of the settings switches it off. */

import { expect, it } from "vitest";
import { hasFamily } from "../../../backends/attachment/forwarding.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";

describeAsRoot("a host with IPv6 switched off", () => {
  it.each(["all", "default", "br0"])("by the setting of %s has IPv4 only", (device) => {
    const host = createNetns("ipv6off");
    const handle = NetnsHandle.open(host.path);
    const families = (bridge: string) =>
      withNetns(handle, () => [hasFamily(4, bridge), hasFamily(6, bridge)]);
    try {
      host.ip("link add br0 type bridge");
      expect([families("br0"), families("absent")]).toEqual([
        [true, true],
        [true, true],
      ]);
      host.exec("sysctl", ["-qw", `net.ipv6.conf.${device}.disable_ipv6=1`]);
      expect(families("br0")).toEqual([true, false]);
    } finally {
      handle.close();
      host.dispose();
    }
  });
});
