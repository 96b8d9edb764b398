import { afterAll, beforeAll, expect, it } from "vitest";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { decodeNeighbour, encodeGetNeighbour } from "../../../backends/netlink/neighbour.ts";
import { decodeNeighbourTable, encodeNeighbourTableDump } from "../../../backends/netlink/neighbour-table.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

describeAsRoot("the kernel's tables of neighbours", () => {
  let netns: TestNetns;
  let handle: NetnsHandle;
  let connection: NetlinkConnection;

  beforeAll(() => {
    netns = createNetns("neighbours");
    netns.ip("link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up");
    netns.ip("neighbour add 192.0.2.7 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
    handle = NetnsHandle.open(netns.path);
    connection = NetlinkConnection.open({ netns: handle });
  });
  afterAll(() => {
    connection.close();
    handle.close();
    netns.dispose();
  });

  it.each([
    [4, "arp_cache"],
    [6, "ndisc_cache"],
  ] as const)("say how many entries of IPv%i there may be, as iproute2 does", (family, name) => {
    const [table, ...more] = connection.dump(encodeNeighbourTableDump(family), decodeNeighbourTable);
    const shown = netns.exec("ip", ["ntable", "show", "name", name]);
    expect(more).toEqual([]);
    expect(table?.most).toBe(Number(/thresh3 (\d+)/.exec(shown)?.[1]));
    expect(table?.entries).toBeGreaterThanOrEqual(family === 4 ? 1 : 0);
    expect(table?.refusals).toBeTypeOf("bigint");
  });

  it("tell of one entry, and of none", () => {
    const interfaceIndex = Number(netns.ipJson(["link", "show", "eth0"])[0]?.ifindex);
    const get = (text: string) =>
      connection.get(encodeGetNeighbour({ interfaceIndex, address: Address.parse(text) }), decodeNeighbour);
    expect(get("192.0.2.7").mac).toBe("02:00:00:00:00:07");
    expect(() => get("192.0.2.8")).toThrow(/ENOENT/);
  });
});
