/** The host's own interface in a VLAN of a bridge, when the bridge or the subnet is another one. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { ensureGateways } from "../../../backends/attachment/bridge.ts";
import { getLink, isErrno } from "../../../backends/attachment/links.ts";
import { ensureGatewayDevice } from "../../../backends/attachment/vlan.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import type { Link } from "../../../backends/netlink/link/link.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { parseInterfaceAddress } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const VLANS = { untagged: 10, tagged: [], keepsDefault: true };

describeAsRoot("the gateway's interface in a VLAN", () => {
  let host: TestNetns;
  let netns: NetnsHandle;
  let connection: NetlinkConnection;
  beforeEach(() => {
    host = createNetns("vlan");
    netns = NetnsHandle.open(host.path);
    connection = NetlinkConnection.open({ netns });
    host.ip("link add br0 type bridge");
  });
  afterEach(() => {
    connection.close();
    netns.close();
    host.dispose();
  });

  /** Kernels without VLANs of bridges reject the last step. */
  const ensureDevice = (): void => {
    try {
      ensureGatewayDevice(connection, getLink(connection, "br0"), VLANS);
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP")) throw error;
    }
  };

  it("joins the bridge also after that was deleted and made again", () => {
    const portsOf = () => host.ipJson(["link", "show", "master", "br0"]).map(({ link }) => link);
    ensureDevice();
    expect(portsOf()).toEqual(["br0.10"]);
    host.ip("link del br0", "link add br0 type bridge");
    ensureDevice();
    expect(portsOf()).toEqual(["br0.10"]);
  });

  it("keeps its address of a former subnet while containers use it", () => {
    ensureDevice();
    const [bridge, device] = ["br0", "br0.10"].map((name) => getLink(connection, name)) as [Link, Link];
    const ensure = (gateway: string) =>
      withNetns(netns, () =>
        ensureGateways(connection, bridge, device, [parseInterfaceAddress(gateway)], {
          force: false,
          network: [],
        }),
      );
    ensure("10.5.71.1/24");
    // It is not a container of its own.
    ensure("10.5.72.1/24");
    host.ip("link add c1 type veth peer name eth0", "link set c1 master br0");
    expect(() => ensure("10.5.99.1/24")).toThrow(/^br0.10 holds 10.5.72.1/);
  });

  it("does not take a container of another ADD for one of the former subnet", () => {
    host.ip("address add 10.5.71.1/24 dev br0", "link set br0 up");
    const bridge = getLink(connection, "br0");
    const addresses = () => host.ipJson(["-4", "address", "show", "dev", "br0"]);
    let dumps = 0;
    const slow = new Proxy(connection, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          const answer = value.apply(target, args);
          // Behind the reading of the addresses.
          if (name === "dump" && dumps++ === 0)
            host.ip(
              ...["address del 10.5.71.1/24 dev br0", "address add 10.5.72.1/24 dev br0"],
              ...["link add c1 type veth peer name eth0", "link set c1 master br0"],
            );
          return answer;
        };
      },
    });
    withNetns(netns, () =>
      ensureGateways(slow, bridge, bridge, [parseInterfaceAddress("10.5.72.1/24")], {
        force: false,
        network: [],
      }),
    );
    expect(addresses()).toMatchObject([{ addr_info: [{ local: "10.5.72.1" }] }]);
  });
});
