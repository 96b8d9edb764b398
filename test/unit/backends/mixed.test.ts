/** A host that has a present backend and a former one: who sends to whom by which. */

import { describe, expect, it } from "vitest";
import { hostGwBackend } from "../../../backends/host-gw.ts";
import { canStandSideBySide, MixedBackend } from "../../../backends/mixed.ts";
import { backendFor } from "../../../backends/registry.ts";
import { describe as describeObject } from "../../../backends/state/kinds/registry.ts";
import { udpBackend } from "../../../backends/udp.ts";
import type { vxlanBackend } from "../../../backends/vxlan.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import type { BackendOffer, Lease } from "../../../ipam/leases/lease.ts";
import { hostFacts, OWN, OWN_MAC, peer, prepareVxlan } from "../../support/vxlan-fixture.ts";

const IDENTITY = { macFor: () => OWN_MAC };
const prepare = (backend: typeof vxlanBackend, options = {}) =>
  backend.parseOptions(options).prepare(hostFacts(), [4], IDENTITY);

const vxlan = prepareVxlan();
const hostGw = prepare(hostGwBackend);
const udp = prepare(udpBackend);

const HOST_GW: BackendOffer = { backendType: "host-gw", backendData: {} };
const UDP: BackendOffer = { backendType: "", backendData: {} };

/** Peer 5 as it publishes these backends, the main one first; "vxlan" stands for its VXLAN data. */
function lease(...offers: readonly (BackendOffer | "vxlan")[]): Lease {
  const known = peer(5, { publicAddress: "192.168.50.5" });
  const { backendType, backendData } = known.attrs;
  const [main, ...otherBackends] = offers.map((offer) =>
    offer === "vxlan" ? { backendType, backendData } : offer,
  );
  const others = otherBackends.length === 0 ? {} : { otherBackends };
  return { ...known, attrs: { ...known.attrs, ...main, ...others } };
}

const planned = (backend: MixedBackend, one: Lease): readonly string[] =>
  backend.planPeer(one, false).map(describeObject);
const routes = (backend: MixedBackend, one: Lease): readonly string[] =>
  planned(backend, one).filter((line) => line.startsWith("route"));

const BY_TUNNEL = ["route 10.2.5.0/24 via 10.2.5.0 dev flannel.1 proto 116 onlink"];
const DIRECT = ["route 10.2.5.0/24 via 192.168.50.5 dev under0 proto 116"];

describe("a host that has not followed", () => {
  const backend = new MixedBackend(vxlan);

  it("goes on with a peer that asks for another backend, by the one that it also has", () => {
    const followed = lease(HOST_GW, "vxlan");
    expect(backend.rejectPeer(followed)).toBeNull();
    expect(planned(backend, followed)).toEqual(planned(backend, lease("vxlan")));
    expect(backend.peerIdentities(followed)).toEqual(backend.peerIdentities(lease("vxlan")));
    expect(backend.formerTypeTo(followed)).toBeNull();
  });

  it("rejects one that has no backend in common with it, by the peer's main backend", () => {
    expect(backend.rejectPeer(lease(HOST_GW))).toMatch(
      /^its backend is "host-gw" where this network uses vxlan/,
    );
    expect(backend.rejectPeer(lease(HOST_GW, UDP))).toMatch(/^its backend is "host-gw"/);
  });
});

describe("a host that has followed", () => {
  const backend = new MixedBackend(hostGw, [vxlan]);

  it("publishes both, and has what both need", () => {
    expect(backend.leaseType).toBe("host-gw");
    expect(backend.offers).toEqual([{ backendType: "vxlan", backendData: vxlan.leaseData }]);
    expect(backend.devices).toEqual(["flannel.1"]);
    expect(backend.entrances).toEqual({ 4: ["under0", "flannel.1"] });
    expect(backend.planBase(OWN).map(describeObject)).toEqual([
      ...vxlan.planBase(OWN).map(describeObject),
      "sysctl net/ipv4/conf/flannel.1/rp_filter=2",
    ]);
    expect(backend.mtuBytes).toBe(1450);
  });

  it("sends by what the peer asks for", () => {
    expect(routes(backend, lease("vxlan"))).toEqual(BY_TUNNEL);
    expect(routes(backend, lease("vxlan", HOST_GW))).toEqual(BY_TUNNEL);
    expect(routes(backend, lease(HOST_GW, "vxlan"))).toEqual(DIRECT);
    expect(routes(backend, lease(HOST_GW))).toEqual(DIRECT);
  });

  it("stays ready to receive by the other one, with one route in all", () => {
    const lines = planned(backend, lease(HOST_GW, "vxlan"));
    expect(lines.map((line) => line.split(" ")[0])).toEqual(["route", "neigh", "fdb"]);
  });

  it("tells which peers it reaches by the former one", () => {
    expect(backend.formerTypeTo(lease("vxlan"))).toBe("vxlan");
    expect(backend.pathTo(lease("vxlan"))).toBe("tunnel");
    expect(backend.formerTypeTo(lease(HOST_GW, "vxlan"))).toBeNull();
    expect(backend.pathTo(lease(HOST_GW, "vxlan"))).toBe("direct");
  });

  it("keeps the former one for a peer that the present one cannot reach from here", () => {
    const known = lease(HOST_GW, "vxlan");
    const { publicAddress } = peer(5).attrs;
    const far = { ...known, attrs: { ...known.attrs, publicAddress } };
    expect(backend.rejectLocally(far)).toBeNull();
    expect(backend.formerTypeTo(far)).toBe("vxlan");
    const alone = { ...far, attrs: { ...far.attrs, ...HOST_GW, otherBackends: [] } };
    expect(backend.rejectLocally(alone)).toMatch(/is not on the link of under0/);
  });

  it("rejects a lease of the former type for what that backend finds wrong", () => {
    const wrong = lease({ backendType: "vxlan", backendData: { 4: { VNI: 1 } } });
    expect(backend.rejectPeer(wrong)).toMatch(/holds no valid VtepMAC/);
  });

  it("while it prepares, asks for the former one and sends by it", () => {
    const preparing = new MixedBackend(hostGw, [vxlan], vxlan);
    expect(preparing.leaseType).toBe("vxlan");
    expect(preparing.offers).toEqual([HOST_GW]);
    expect(routes(preparing, lease(HOST_GW, "vxlan"))).toEqual(BY_TUNNEL);
    expect(routes(preparing, lease(HOST_GW))).toEqual(DIRECT);
  });
});

describe("a host with udp, whose one route is for the whole network", () => {
  it("gives peers of the former udp routes of their own where the present backend has that route", () => {
    const backend = new MixedBackend(vxlan, [udp]);
    expect(routes(backend, lease(UDP))).toEqual(["route 10.2.5.0/24 dev flannel0 proto 116"]);
    expect(routes(backend, lease("vxlan", UDP))).toEqual(BY_TUNNEL);
  });

  it("keeps that route with the backend that peers are asked to use, where two have one", () => {
    const wireguard = backendFor(
      parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"wireguard"}}'),
    )
      .parseOptions({})
      .prepare(hostFacts(), [4], IDENTITY);
    const routesOf = (backend: MixedBackend) =>
      backend
        .planBase(OWN)
        .map(describeObject)
        .filter((line) => line.startsWith("route 10.2.0.0/16 "));
    const byUdp = "route 10.2.0.0/16 dev flannel0 proto 116";
    const byWireguard = "route 10.2.0.0/16 dev flannel-wg proto 116";
    expect(routesOf(new MixedBackend(wireguard, [udp], udp))).toContain(byUdp);
    expect(routesOf(new MixedBackend(wireguard, [udp], udp))).not.toContain(byWireguard);
    expect(routesOf(new MixedBackend(wireguard, [udp]))).toContain(byWireguard);
    expect(routesOf(new MixedBackend(wireguard, [udp]))).not.toContain(byUdp);
  });

  it("tells its data path of the peers that it can send to or receive from", () => {
    const backend = new MixedBackend(vxlan, [udp]);
    const peers = [lease("vxlan"), { ...lease(UDP), key: "udp" }, { ...lease("vxlan", UDP), key: "both" }];
    const target = { own: OWN, peers: new Map(peers.map((one) => [one.key, one])) };
    expect([...backend.targetFor(udp, target).peers.keys()]).toEqual(["udp", "both"]);
    const again = backend.targetFor(udp, target).peers.get("both");
    expect(backend.targetFor(udp, target).peers.get("both")).toBe(again);
  });

  it("has the tunnel that the firewall must guard in front", () => {
    for (const backend of [new MixedBackend(udp, [vxlan]), new MixedBackend(vxlan, [udp])])
      expect(backend.tunnels[4]?.map(({ device }) => device)).toEqual(["flannel.1", "flannel0"]);
  });
});

describe("two backends on one host", () => {
  const wide = { uplinks: hostFacts().uplinks, networks: OWN, hasIpv6: true };
  const alloc = backendFor(parseNetworkConfig('{"Network":"10.2.0.0/16","Backend":{"Type":"alloc"}}'))
    .parseOptions({})
    .prepare(hostFacts(), [4], IDENTITY);

  it.each([
    ["vxlan and host-gw", vxlan, hostGw, true],
    ["vxlan and udp", vxlan, udp, true],
    ["two VNIs", vxlan, prepareVxlan({ VNI: 7 }), true],
    ["one VNI on two ports, which is one device", vxlan, prepareVxlan({ Port: 4789 }), false],
    ["alloc, whose packets others carry", alloc, vxlan, false],
  ])("%s", (_, one, other, isPossible) => {
    expect(canStandSideBySide(one, other, wide)).toBe(isPossible);
    expect(canStandSideBySide(other, one, wide)).toBe(isPossible);
  });
});

describe("a host with a fall-back", () => {
  const diverted = new Set<string>();
  const fallback = { part: udp, isUsed: (key: string, family: number) => diverted.has(`${key} ${family}`) };
  const backend = new MixedBackend(vxlan, [], vxlan, fallback);
  const both = lease("vxlan", UDP);
  const divert = (isDiverted: boolean) => {
    if (isDiverted) diverted.add(`${both.key} 4`);
    else diverted.delete(`${both.key} 4`);
  };

  it("publishes it, has its device without a route to the network, and accepts packets by either", () => {
    expect([backend.leaseType, backend.offers, backend.formerTypes]).toEqual(["vxlan", [UDP], []]);
    const base = backend.planBase(OWN).map(describeObject);
    expect(base.filter((line) => line.startsWith("route"))).toEqual([]);
    expect(base.filter((line) => line.startsWith("link")).map((line) => line.split(" ")[1])).toEqual([
      "flannel.1",
      "flannel0",
    ]);
    expect(base.filter((line) => line.includes("rp_filter"))).toHaveLength(2);
    expect(backend.entrances).toEqual({ 4: ["flannel.1", "flannel0"] });
    expect(backend.mtuBytes).toBe(1450);
  });

  it("leads packets by it while it is told to, and keeps the tunnel's route behind for probes", () => {
    const usual = planned(backend, both);
    expect(usual).toEqual(planned(new MixedBackend(vxlan), lease("vxlan")));
    expect([backend.fallbackTo(both), backend.pathTo(both)]).toEqual([{ 4: "flannel.1" }, "tunnel"]);
    divert(true);
    expect(routes(backend, both)).toEqual([
      "route 10.2.5.0/24 dev flannel0 proto 116",
      "route 10.2.5.0/24 dev flannel.1 proto 116 metric 8192",
    ]);
    expect(planned(backend, both).filter((line) => !line.startsWith("route"))).toEqual(
      usual.filter((line) => !line.startsWith("route")),
    );
    expect([backend.pathTo(both), backend.pathTo(both, 4), backend.pathTo(both, 6)]).toEqual([
      "fallback",
      "fallback",
      "tunnel",
    ]);
    expect([backend.carrierOf(both, 4).type, backend.carrierOf(both, 6).type]).toEqual(["udp", "vxlan"]);
    expect([backend.fallbackTo(both), backend.formerTypeTo(both)]).toEqual([{ 4: "flannel.1" }, null]);
    divert(false);
    expect(planned(backend, both)).toEqual(usual);
  });

  it("keeps a gateway outside of the subnet, as host-gw's", () => {
    divert(true);
    expect(routes(new MixedBackend(hostGw, [], hostGw, fallback), lease(HOST_GW, UDP))).toEqual([
      "route 10.2.5.0/24 dev flannel0 proto 116",
      "route 10.2.5.0/24 via 192.168.50.5 dev under0 proto 116 metric 8192",
    ]);
    divert(false);
  });

  it("is for peers only that publish it too, and never the only way to one", () => {
    divert(true);
    expect([backend.fallbackTo(lease("vxlan")), backend.pathTo(lease("vxlan"))]).toEqual([{}, "tunnel"]);
    expect(routes(backend, lease("vxlan"))).toEqual(BY_TUNNEL);
    divert(false);
    expect(backend.rejectPeer(lease(UDP))).toMatch(/^its backend is "" where this network uses vxlan/);
    const peers = new Map([lease("vxlan"), both].map((one, index) => [`${index}`, one]));
    const followed = [...backend.targetFor(udp, { own: OWN, peers }).peers.values()];
    expect(followed.map(({ attrs }) => attrs.backendType)).toEqual([""]);
  });

  it("does not stand in the way of a change of the backend", () => {
    const changing = new MixedBackend(hostGw, [vxlan], hostGw, fallback);
    expect(changing.formerTypes).toEqual(["vxlan"]);
    expect(changing.formerTypeTo(lease("vxlan", UDP))).toBe("vxlan");
    expect(changing.formerTypeTo(lease(HOST_GW, "vxlan", UDP))).toBeNull();
  });
});
