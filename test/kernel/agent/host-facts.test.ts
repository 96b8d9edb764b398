import { afterAll, beforeAll, expect, it } from "vitest";
import { chooseInterfaces } from "../../../agent/host/choose-interface.ts";
import { takeHostSnapshot } from "../../../agent/host/host-facts.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const settings = { interfaces: [], patterns: [], canReach: null, publicAddress: {} };

describeAsRoot("facts of a real host", () => {
  let netns: TestNetns;
  let connection: NetlinkConnection;
  const ip = (...args: string[]) => netns.exec("ip", args);

  beforeAll(() => {
    netns = createNetns("facts");
    ip("link", "set", "lo", "up");
    for (const [name, address] of [
      ["eth0", "192.0.2.2/24"],
      ["eth1", "198.51.100.2/24"],
    ] as const) {
      ip("link", "add", name, "type", "veth", "peer", "name", `${name}-peer`);
      ip("link", "set", name, "up");
      ip("link", "set", `${name}-peer`, "up");
      ip("address", "add", address, "dev", name);
    }
    const handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
    handle.close();
  });
  afterAll(() => {
    connection.close();
    netns.dispose();
  });

  const choose = (store: string | null) => {
    const chosen = chooseInterfaces(takeHostSnapshot(connection), {
      settings,
      families: [4],
      store: store === null ? null : Address.parse(store),
      containers: { plan: {}, subnets: [] },
      leaseAddresses: [],
      present: null,
    })[4];
    if (chosen === undefined) throw new Error("no interface was chosen");
    return chosen;
  };

  it("without a default route takes the route to the store", () => {
    expect(() => choose(null)).toThrow("no usable interface");
    expect(() => choose("203.0.113.1")).toThrow("no usable interface");
    expect(choose("198.51.100.9").link.name).toBe("eth1");
  });

  it("takes the default route's interface, and warns when the store is elsewhere", () => {
    ip("route", "add", "default", "via", "192.0.2.1");
    const chosen = choose("198.51.100.9");
    expect(`${chosen.link.name} ${chosen.address}`).toBe("eth0 192.0.2.2");
    expect(chosen.warnings).toEqual([expect.stringContaining("-iface=eth1")]);
    expect(chosen.link.mac).toBe(netns.ipJson(["link", "show", "eth0"])[0]?.address);
  });

  it("takes the address from which the kernel sends, and not one that was added before it", () => {
    ip("address", "flush", "dev", "eth0");
    for (const address of ["203.0.113.100/24", "192.0.2.2/24", "192.0.2.100/24"])
      ip("address", "add", address, "dev", "eth0");
    ip("route", "add", "default", "via", "192.0.2.1");
    expect(`${choose(null).address}`).toBe("192.0.2.2");
    ip("route", "replace", "default", "via", "192.0.2.1", "src", "192.0.2.100");
    expect(`${choose(null).address}`).toBe("192.0.2.100");
  });

  it("takes the way that the kernel chooses where a default route has several", () => {
    ip("address", "delete", "203.0.113.100/24", "dev", "eth0");
    const hops = ["via", "192.0.2.1", "dev", "eth0", "nexthop", "via", "198.51.100.1", "dev", "eth1"];
    ip("route", "replace", "default", "nexthop", ...hops);
    expect(["eth0 192.0.2.2", "eth1 198.51.100.2"]).toContain(
      `${choose(null).link.name} ${choose(null).address}`,
    );
  });

  it("takes the bridge that the interface became a port of", () => {
    ip("link", "add", "br0", "up", "type", "bridge");
    ip("link", "set", "eth0", "master", "br0");
    ip("address", "add", "192.0.2.2/24", "dev", "br0");
    ip("route", "replace", "default", "via", "192.0.2.1", "dev", "br0");
    expect(`${choose(null).link.name} ${choose(null).address}`).toBe("br0 192.0.2.2");
  });
});
