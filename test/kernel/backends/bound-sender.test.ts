/** Echo requests over IPv6 from a given address by a given interface, while both change. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { EchoPort } from "../../../backends/probe/echo-port.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

describeAsRoot("echo requests by a given interface", () => {
  let host: TestNetns;
  let handle: NetnsHandle;

  beforeAll(() => {
    host = createNetns("sender");
    handle = NetnsHandle.open(host.path);
  });
  afterAll(() => {
    handle.close();
    host.dispose();
  });

  const addDevice = (name: string, address: string): number => {
    host.ip(
      `link add ${name} type veth peer name ${name}-far`,
      `link set ${name}-far up`,
      `link set ${name} up`,
    );
    host.ip(`address add ${address}/64 dev ${name} nodad`);
    return Number(host.ipJson(["link", "show", name])[0]?.ifindex);
  };

  it("leave from the new address by the new interface when both are replaced", () => {
    const port = withNetns(handle, () => EchoPort.open(6, 7));
    try {
      const send = (source: string, target: string, interfaceIndex: number): void =>
        port.send(Address.parse(target), 1, 64, { interfaceIndex, source: Address.parse(source) });
      send("2001:db8:1::1", "2001:db8:1::2", addDevice("former", "2001:db8:1::1"));
      host.ip("link delete former");
      const index = addDevice("present", "2001:db8:2::1");
      expect(() => send("2001:db8:2::1", "2001:db8:2::2", index)).not.toThrow();
    } finally {
      port.close();
    }
  });
});
