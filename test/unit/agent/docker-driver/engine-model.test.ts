import { expect, it } from "vitest";
import { decodeNetworks } from "../../../../agent/docker-driver/engine-model.ts";

it("reads the networks beside one whose IPAM driver takes subnets of its own form", () => {
  const networks = decodeNetworks([
    { Id: "a", Name: "foreign", Driver: "ovs", IPAM: { Driver: "dhcp", Config: [{ Subnet: "vlan 12" }] } },
    {
      Id: "b",
      Name: "blue",
      Driver: "tulle",
      IPAM: { Driver: "tulle", Config: [{ Subnet: "10.9.0.0/24" }] },
    },
  ]);
  expect(networks.map(({ name, subnets }) => [name, subnets.map(({ subnet }) => `${subnet}`)])).toEqual([
    ["foreign", []],
    ["blue", ["10.9.0.0/24"]],
  ]);
});
