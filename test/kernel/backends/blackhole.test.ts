/**
 * The route to nowhere, with packets of both families: what comes in for an address of our subnet that no container
 * has must not leave again by the default route.
 */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostObjects } from "../../../agent/network/host-objects.ts";
import type { KernelObject } from "../../../backends/state/kinds/registry.ts";
import { FAMILIES, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import { prepareVxlan, scopeOf } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

const NETWORKS = { 4: Prefix.parse("10.2.0.0/16"), 6: Prefix.parse("fd00:2::/48") };
const OWN = { 4: Prefix.parse("10.2.54.0/24"), 6: Prefix.parse("fd00:2:0:54::/64") };
const NOBODY = { 4: "10.2.54.77", 6: "fd00:2:0:54::77" };
const BRIDGE = { 4: "10.2.54.1/24", 6: "fd00:2:0:54::1/64" };
/** On the link to the neighbour, where the default route leads as well: what leaks comes back to the neighbour. */
const LINK = { 4: ["10.99.0.1", "10.99.0.2", 24], 6: ["fd00:99::1", "fd00:99::2", 64] } as const;
/** An IPv6 address answers at once without duplicate address detection. */
const NODAD = { 4: "", 6: "nodad" } as const;
const PACKETS = 3;

const WITHOUT: readonly KernelObject[] = [];
const WITH = hostObjects(
  {
    engine: "none",
    masquerade: false,
    isFullyRandom: false,
    masqueradeExcluded: [],
    acceptForwarded: false,
    resyncSeconds: 5,
    blackholeRoute: true,
    openPort: false,
    tunnelSources: "any",
    containerSources: "any",
    clampMss: false,
    enableForwarding: false,
  },
  OWN,
  [],
);

describeAsRoot("the route to nowhere", () => {
  let host: VxlanHost;
  let neighbour: TestNetns;

  beforeEach(() => {
    const scope = { ...scopeOf(prepareVxlan()), networks: Object.values(NETWORKS) };
    host = new VxlanHost({ label: "hole", scope }).start();
    neighbour = createNetns("holeout");
    host.sh(`ip link add out type veth peer name in netns ${neighbour.name}`);
    host.sh("ip link set out up; sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    neighbour.exec("ip", ["link", "set", "in", "up"]);
    for (const family of FAMILIES) {
      const [ours, theirs, length] = LINK[family];
      host.sh(
        `ip address add ${ours}/${length} dev out ${NODAD[family]}; ip -${family} route add default via ${theirs}`,
      );
      neighbour.exec("sh", ["-ec", `ip address add ${theirs}/${length} dev in ${NODAD[family]}`]);
      neighbour.exec("ip", ["route", "add", `${NETWORKS[family]}`, "via", ours]);
      const [chain, match] = [`leak${family}`, `${family === 4 ? "ip" : "ip6"} daddr ${NETWORKS[family]}`];
      neighbour.exec("nft", [
        `add table inet count; add chain inet count ${chain} { type filter hook prerouting priority 0; };
        add rule inet count ${chain} ${match} counter`,
      ]);
    }
  });
  afterEach(async () => {
    await host.dispose();
    neighbour.dispose();
  });

  const want = async (objects: readonly KernelObject[]): Promise<void> => {
    host.reconciler.setDesired({ type: "whole", groups: new Map([["base", objects]]) });
    await host.settled();
  };
  const ping = (target: string): boolean => {
    try {
      neighbour.exec("ping", ["-c", `${PACKETS}`, "-i", "0.01", "-W", "0.5", target]);
      return true;
    } catch {
      return false;
    }
  };
  /** Sends packets to unused addresses and returns how many were sent out again. */
  const leaked = (family: Family): number => {
    const count = (): number =>
      Number(
        /packets (\d+)/.exec(neighbour.exec("nft", ["list", "chain", "inet", "count", `leak${family}`]))?.[1],
      );
    const before = count();
    ping(NOBODY[family]);
    return count() - before;
  };
  const routes = (family: Family): string[] =>
    host.sh(`ip -${family} route show type blackhole`).split("\n").filter(Boolean);

  describe.each(FAMILIES.map((family) => [family]))("with IPv%i", (family) => {
    it("keeps packets to unused addresses off the default route, and is removed when not wanted", async () => {
      await want(WITHOUT);
      expect(leaked(family)).toBeGreaterThanOrEqual(PACKETS);
      await want(WITH);
      expect(leaked(family)).toBe(0);
      await want(WITHOUT);
      expect(routes(family)).toEqual([]);
      expect(leaked(family)).toBeGreaterThanOrEqual(PACKETS);
    });

    it("stands back behind the containers' bridge, and takes over when that goes", async () => {
      await want(WITH);
      host.sh(
        `ip link add docker0 up type bridge; ip address add ${BRIDGE[family]} dev docker0 ${NODAD[family]}`,
      );
      const bridge = BRIDGE[family].replace(/\/.*/, "");
      expect(ping(bridge)).toBe(true);
      expect(host.sh(`ip route get ${NOBODY[family]}`)).toContain("dev docker0");
      host.sh("ip link del docker0");
      expect(leaked(family)).toBe(0);
    });

    it("comes back when it is deleted, and a restart changes nothing", async () => {
      await want(WITH);
      host.sh(`ip -${family} route flush type blackhole`);
      await expect.poll(() => routes(family), { timeout: 5000 }).toHaveLength(1);
      await host.settled();
      const before = host.applied;
      await host.restart();
      await want(WITH);
      expect(host.applied).toBe(before);
      expect(leaked(family)).toBe(0);
    });

    it("leaves the administrator's own alone", async () => {
      host.sh(`ip route add blackhole ${OWN[family]} metric 9`);
      await want(WITH);
      await want(WITHOUT);
      expect(routes(family)).toEqual([expect.stringContaining("metric 9")]);
    });
  });
});
