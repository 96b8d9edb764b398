import { describe, expect, it } from "vitest";
import type { BridgeFacts } from "../../../../agent/docker/bridge-facts.ts";
import { bridgeFindings, isBridgeElsewhere, settingFindings } from "../../../../agent/docker/findings.ts";
import { formatDiff } from "../../../../agent/docker/text-diff.ts";
import { Address, Prefix, parseInterfaceAddress } from "../../../../ipam/addresses/ip.ts";
import { parseSubnetEnv } from "../../../../ipam/config/subnet-env.ts";

const ENV = parseSubnetEnv(
  "FLANNEL_NETWORK=10.2.0.0/16\nFLANNEL_SUBNET=10.2.54.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
);
const FACTS: BridgeFacts = {
  addresses: [parseInterfaceAddress("10.2.54.1/24")],
  portCount: 0,
  routes: [
    { destination: Prefix.parse("10.2.54.0/24"), device: "docker0", gateway: null },
    { destination: Prefix.parse("10.2.55.0/24"), device: "flannel.1", gateway: Address.parse("10.2.55.0") },
    { destination: Prefix.parse("10.0.0.0/8"), device: "eth0", gateway: Address.parse("192.168.50.1") },
  ],
};
const withRoute = (destination: string, gateway: string | null): BridgeFacts => ({
  ...FACTS,
  routes: [
    {
      destination: Prefix.parse(destination),
      device: "eth1",
      gateway: gateway === null ? null : Address.parse(gateway),
    },
  ],
});

describe("findings about Docker's bridge", () => {
  it("are none where all is well, or where the bridge does not exist yet", () => {
    expect(bridgeFindings(ENV, FACTS)).toEqual([]);
    expect(bridgeFindings(ENV, { ...FACTS, addresses: null })).toEqual([]);
  });

  it("tell of another subnet, and of the containers on it", () => {
    const elsewhere = { ...FACTS, addresses: [parseInterfaceAddress("172.17.0.1/16")], portCount: 3 };
    expect(isBridgeElsewhere(ENV, elsewhere)).toBe(true);
    expect(bridgeFindings(ENV, elsewhere)).toEqual([
      expect.stringContaining("172.17.0.1/16"),
      expect.stringContaining("3 container(s)"),
    ]);
  });

  it("tell of a bridge that lacks the address of one family", () => {
    const dual = { ...ENV, subnets: { ...ENV.subnets, 6: parseInterfaceAddress("fd00:2:0:54::1/64") } };
    const both = ["10.2.54.1/24", "fd00:2:0:54::1/64", "fe80::1/64"].map(parseInterfaceAddress);
    expect(bridgeFindings(dual, { ...FACTS, addresses: both })).toEqual([]);
    expect(bridgeFindings(dual, FACTS)).toEqual([expect.stringContaining("has the address 10.2.54.1/24;")]);
  });

  it.each([
    ["10.2.54.0/24", "192.168.50.1", "diverts packets for containers in 10.2.54.0/24: delete it"],
    [
      "10.2.54.128/25",
      null,
      "diverts packets for containers in 10.2.54.0/24: give the containers another Network",
    ],
    ["10.2.0.0/16", null, "covers 10.2.54.0/24"],
  ])("tell of the route %s via %s", (destination, gateway, words) => {
    expect(bridgeFindings(ENV, withRoute(destination, gateway))).toEqual([expect.stringContaining(words)]);
  });

  it("tell of settings of Docker that change what the bridge does", () => {
    expect(settingFindings({ debug: true })).toEqual([]);
    expect(settingFindings({ "live-restore": true, "firewall-backend": "nftables" })).toHaveLength(2);
  });
});

describe("a shown change", () => {
  it("has the changed lines with a little around them", () => {
    expect(formatDiff("f", "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nfive\n6\n")).toBe(
      "--- f\n+++ f\n 2\n 3\n 4\n-5\n+five\n 6\n",
    );
  });

  it("says which side has no file, and nothing for equal texts", () => {
    expect(formatDiff("f", null, "a\n")).toBe("--- /dev/null\n+++ f\n+a\n");
    expect(formatDiff("f", "a\n", null)).toBe("--- f\n+++ /dev/null\n-a\n");
    expect(formatDiff("f", "a\n", "a\n")).toBe("");
  });
});
