/** The host's own interface in a VLAN of a bridge, when the bridge is another one. */

import { expect, it } from "vitest";
import { getLink, isErrno } from "../../../backends/attachment/links.ts";
import { ensureGatewayDevice } from "../../../backends/attachment/vlan.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";

const VLANS = { untagged: 10, tagged: [], keepsDefault: true };

describeAsRoot("the gateway's interface in a VLAN", () => {
  it("joins the bridge also after that was deleted and made again", () => {
    const host = createNetns("vlan");
    const netns = NetnsHandle.open(host.path);
    const connection = NetlinkConnection.open({ netns });
    /** Kernels without VLANs of bridges reject the last step. */
    const ensure = (): void => {
      try {
        ensureGatewayDevice(connection, getLink(connection, "br0"), VLANS);
      } catch (error) {
        if (!isErrno(error, "EOPNOTSUPP")) throw error;
      }
    };
    const portsOf = () => host.ipJson(["link", "show", "master", "br0"]).map(({ link }) => link);
    try {
      host.ip("link add br0 type bridge");
      ensure();
      expect(portsOf()).toEqual(["br0.10"]);
      host.ip("link del br0", "link add br0 type bridge");
      ensure();
      expect(portsOf()).toEqual(["br0.10"]);
    } finally {
      connection.close();
      netns.close();
      host.dispose();
    }
  });
});
