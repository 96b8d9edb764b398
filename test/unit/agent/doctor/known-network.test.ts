import { expect, it } from "vitest";
import { knownNetwork } from "../../../../agent/doctor/known-network.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";

const report = (ranges: readonly string[], backend: string, formerBackends: readonly string[] = []) => ({
  network: { ranges, backend, formerBackends },
});
const subjects = ({ needs }: ReturnType<typeof knownNetwork>) => needs.map(({ subject }) => subject);

it("is that of the store, else the daemon's, else any", () => {
  const network = parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}');
  const ofStore = knownNetwork(network, { fallback: "none" }, report(["fd00:2::/48"], "wireguard"));
  expect(ofStore).toMatchObject({ isNetworkKnown: true, families: [4] });
  expect(subjects(ofStore)).toEqual(["vxlan"]);
  const ofDaemon = knownNetwork(null, { fallback: "none" }, report(["fd00:2::/48"], "vxlan"));
  expect(ofDaemon).toMatchObject({ isNetworkKnown: true, families: [6] });
  expect(subjects(ofDaemon)).toEqual(["vxlan"]);
  const any = knownNetwork(null, { fallback: "none" }, null);
  expect(any).toMatchObject({ isNetworkKnown: false, families: [4] });
  expect(subjects(any)).toEqual(expect.arrayContaining(["vxlan", "wireguard", "ipip"]));
});

it("has the needs of former backends and of the fall-back", () => {
  const both = report(["10.2.0.0/16", "fd00:2::/48"], "host-gw", ["wireguard"]);
  const known = knownNetwork(null, { fallback: "udp" }, both);
  expect(known.families).toEqual([4, 6]);
  expect(subjects(known)).toEqual(["wireguard", "tun"]);
});
