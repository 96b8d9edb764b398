/** Names that a bridge cannot have because another device has them. */

import { expect, it } from "vitest";
import { ensureBridge } from "../../../backends/attachment/bridge.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";

const BRIDGE = { name: "cni0", isPromiscuous: false, gateway: null };
const NO_VLANS = { untagged: 0, tagged: [], keepsDefault: true };

describeAsRoot("a bridge's name", () => {
  it("that is an alternative name of another device: the remedy leaves the device alone", () => {
    const host = createNetns("names");
    const netns = NetnsHandle.open(host.path);
    const connection = NetlinkConnection.open({ netns });
    try {
      host.ip("link add up0 type veth peer name other", "link property add dev up0 altname cni0");
      expect(() => ensureBridge(connection, BRIDGE, 0, NO_VLANS)).toThrow(
        /^cni0 is an alternative name of up0; remove it: ip link property del dev up0 altname cni0$/,
      );
    } finally {
      connection.close();
      netns.close();
      host.dispose();
    }
  });
});
