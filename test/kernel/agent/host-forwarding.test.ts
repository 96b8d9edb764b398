/** `--ip-forward` on a host that a router configures: it forwards, and keeps its address and its default route. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { FirewallSettings } from "../../../agent/config/config.ts";
import { hostObjects } from "../../../agent/network/host-objects.ts";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import { advertise } from "../../support/advertise.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { prepareVxlan, scopeOf } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

const OWN = { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") };
const SETTINGS: FirewallSettings = {
  engine: "none",
  masquerade: false,
  isFullyRandom: false,
  masqueradeExcluded: [],
  acceptForwarded: false,
  resyncSeconds: 5,
  blackholeRoute: false,
  openPort: false,
  tunnelSources: "any",
  containerSources: "any",
  clampMss: false,
  enableForwarding: true,
};
const OBJECTS = hostObjects(SETTINGS, OWN, ["up0"]);

it("forwards the families that the host has subnets of", () => {
  const paths = (own: Parameters<typeof hostObjects>[1]) =>
    hostObjects(SETTINGS, own, ["up0"]).map((object) => (object.kind === "sysctl" ? object.path : ""));
  expect(paths({ 4: OWN[4] })).toEqual(["net/ipv4/ip_forward"]);
  // A router deletes its advertised routes at once: accept_ra comes first.
  expect(paths({ 6: OWN[6] })).toEqual(["net/ipv6/conf/up0/accept_ra", "net/ipv6/conf/all/forwarding"]);
  expect(hostObjects({ ...SETTINGS, enableForwarding: false }, OWN, ["up0"])).toEqual([]);
});

describeAsRoot("a host that a router configures", () => {
  let host: VxlanHost;
  let router: TestNetns;

  beforeEach(async () => {
    router = createNetns("router");
    router.exec("sysctl", ["-qw", "net.ipv6.conf.default.accept_dad=0"]);
    const paths = OBJECTS.flatMap((object) => (object.kind === "sysctl" ? [object.path] : []));
    host = new VxlanHost({
      label: "forward",
      scope: { ...scopeOf(prepareVxlan()), sysctls: new Set(paths) },
    });
    host.sh(`ip link add up0 type veth peer name up0 netns ${router.name}; ip link set up0 up`);
    router.ip("link set up0 up");
    const routes = (): string => {
      advertise(router, "up0", { lifetimeSeconds: 1800, prefix: "2001:db8:1::" });
      return host.sh("ip -6 route show default");
    };
    await expect.poll(routes, { timeout: 5000 }).toContain("proto ra");
    host.start();
  });
  afterEach(async () => {
    await host.dispose();
    router.dispose();
  });

  const want = async (objects: readonly KernelObject[]): Promise<void> => {
    host.reconciler.setDesired({ type: "whole", groups: new Map([["base", objects]]) });
    await host.settled();
  };
  const setting = (name: string): string => host.sh(`sysctl -n net.ipv6.conf.${name}`).trim();

  it("keeps its default route when it begins to forward", async () => {
    await want(OBJECTS);
    expect([setting("all.forwarding"), setting("up0.accept_ra")]).toEqual(["1", "2"]);
    expect(host.sh("ip -6 route show default")).toContain("proto ra");
  });

  it("leaves accept_ra alone where the administrator switched it off", async () => {
    host.sh("sysctl -qw net.ipv6.conf.up0.accept_ra=0");
    await want(OBJECTS);
    expect([setting("all.forwarding"), setting("up0.accept_ra")]).toEqual(["1", "0"]);
  });
});
