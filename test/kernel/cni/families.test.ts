/** Attachments of IPv6, alone and beside IPv4: every verb, with packets. */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Family } from "../../../ipam/addresses/ip.ts";
import {
  type AnyJson,
  type CniContainer,
  CniHost,
  NETWORK_NAME,
  SUBNET_ENV,
} from "../../support/cni-host.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const CASES: readonly [name: string, families: readonly Family[], env: readonly string[]][] = [
  ["IPv6 alone", [6], [...SUBNET_ENV.v6, ...SUBNET_ENV.rest]],
  ["both families", [4, 6], [...SUBNET_ENV.v4, ...SUBNET_ENV.v6, ...SUBNET_ENV.rest]],
];
const GATEWAY = { 4: "10.5.72.1", 6: "fd00:5:0:72::1" } as const satisfies Record<Family, string>;
const SECOND = { 4: "10.5.72.3", 6: "fd00:5:0:72::3" } as const satisfies Record<Family, string>;
/** Asked for by the container. */
const HELD = { 4: "10.5.72.9", 6: "fd00:5:0:72::9" } as const satisfies Record<Family, string>;
/** Outside of the network; it has no route to the containers. */
const OUTSIDE = { 4: "192.0.2.9", 6: "2001:db8::9" } as const satisfies Record<Family, string>;
const UPLINK = { 4: "192.0.2.1/24", 6: "2001:db8::1/64" } as const satisfies Record<Family, string>;
const LENGTH = { 4: 24, 6: 64 } as const satisfies Record<Family, number>;

const DAMAGES: readonly [string, (host: CniHost, container: CniContainer) => void, RegExp][] = [
  [
    "the container's address gone",
    (_, { netns }) => void netns.exec("ip", ["-6", "address", "flush", "dev", "eth0", "scope", "global"]),
    /eth0 lacks fd00:5:0:72::2\/64/,
  ],
  [
    "the default route gone",
    (_, { netns }) => void netns.exec("ip", ["-6", "route", "del", "default"]),
    /the route to ::\/0 is missing/,
  ],
  [
    "the gateway's address gone",
    (host) => void host.netns.exec("ip", ["-6", "address", "flush", "dev", "cni0", "scope", "global"]),
    /cni0 lacks the gateway's address fd00:5:0:72::1\/64/,
  ],
  [
    "forwarding off",
    (host) => void host.netns.exec("sysctl", ["-qw", "net.ipv6.conf.all.forwarding=0"]),
    /the host does not forward IPv6/,
  ],
  [
    "the reservation gone",
    (host) => rmSync(join(host.dir, "ipam", NETWORK_NAME, "fd00:5:0:72::2")),
    /fd00:5:0:72::2 is not reserved for it/,
  ],
  ["the masquerade gone", (host) => void host.netns.exec("nft", ["flush", "ruleset"]), /is not masqueraded/],
];

function isAnswered(netns: TestNetns, target: string): boolean {
  try {
    return netns.exec("ping", ["-c1", "-W1", target]).includes(" 0% packet loss");
  } catch {
    return false;
  }
}

describeAsRoot("tulle-cni with", () => {
  let host: CniHost;
  let outside: TestNetns;
  beforeEach(async () => {
    host = new CniHost("family");
    outside = createNetns("outside");
    host.netns.ip(`link add up0 up type veth peer name up0 netns ${outside.name}`);
    outside.ip("link set up0 up");
    for (const family of [4, 6] as const) {
      const nodad = family === 6 ? " nodad" : "";
      host.netns.ip(`address add ${UPLINK[family]} dev up0${nodad}`);
      outside.ip(`address add ${OUTSIDE[family]}/${LENGTH[family]} dev up0${nodad}`);
    }
    // A new link carries packets up to a second after both of its ends are up (linkwatch).
    for (const target of Object.values(OUTSIDE))
      await expect.poll(() => isAnswered(host.netns, target), { timeout: 5000 }).toBe(true);
  });
  afterEach(() => {
    host.dispose();
    outside.dispose();
  });

  const add = (config: AnyJson = {}): { container: CniContainer; result: AnyJson } => {
    const container = host.addContainer();
    const answer = host.call("ADD", { container, config });
    expect(answer.exitCode, answer.stdout).toBe(0);
    return { container, result: answer.json };
  };
  const ping = ({ netns }: CniContainer, target: string): string =>
    netns.exec("ping", ["-c1", "-W1", target]);

  describe.each(CASES)("%s", (_, families, env) => {
    beforeEach(() => host.writeSubnetEnv(env));

    it("sends at once, to the gateway and to its neighbour, without duplicate address detection", () => {
      const { container } = add();
      expect(container.netns.exec("ip", ["-6", "address", "show", "scope", "global"])).not.toContain(
        "tentative",
      );
      for (const family of families) expect(ping(container, GATEWAY[family])).toContain(" 0% packet loss");
      const { container: second } = add();
      for (const family of families) {
        expect(ping(second, GATEWAY[family])).toContain(" 0% packet loss");
        expect(ping(container, SECOND[family])).toContain(" 0% packet loss");
      }
    });

    it("is reached at once by a host and a neighbour that knew another holder of its address", () => {
      const config = { runtimeConfig: { ips: families.map((family) => HELD[family]) } };
      const { container: neighbour } = add();
      const isReached = () =>
        families.flatMap((family) =>
          [host.netns, neighbour.netns].map((netns) => isAnswered(netns, HELD[family])),
        );
      const { container: former } = add(config);
      expect(isReached()).not.toContain(false);
      expect(host.call("DEL", { container: former, config })).toMatchObject({ exitCode: 0, stdout: "" });
      add(config);
      expect(isReached()).not.toContain(false);
    });

    it("has an address, a gateway and a default route of each in the result and in the container", () => {
      const { container, result } = add();
      expect(result.ips.map(({ gateway }: AnyJson) => gateway)).toEqual(
        families.map((family) => GATEWAY[family]),
      );
      for (const family of families) {
        const destination = family === 4 ? "0.0.0.0/0" : "::/0";
        expect(result.routes).toContainEqual({ dst: destination, gw: GATEWAY[family] });
        const routes = container.netns.ipJson([`-${family}`, "route", "show", "default"]);
        expect(routes).toEqual([expect.objectContaining({ gateway: GATEWAY[family], dev: "eth0" })]);
      }
      expect(host.reservations()).toHaveLength(families.length);
    });

    it.each(["nftables", "iptables"])(
      "is masqueraded by %s, and no longer after DEL",
      async (ipMasqBackend) => {
        const delegate = { isDefaultGateway: true, ipMasq: true, ipMasqBackend };
        const { container, result } = add({ delegate });
        for (const family of families) {
          await expect.poll(() => isAnswered(container.netns, OUTSIDE[family]), { timeout: 5000 }).toBe(true);
        }
        const config = { delegate, prevResult: result };
        expect(host.call("CHECK", { container, config })).toMatchObject({ exitCode: 0, stdout: "" });
        expect(host.call("DEL", { container, config })).toMatchObject({ exitCode: 0, stdout: "" });
        const rules = ["iptables-save", "ip6tables-save", "nft"].map((tool) =>
          host.netns.exec(tool, tool === "nft" ? ["list", "ruleset"] : []),
        );
        expect(rules.join()).not.toMatch(/tulle-cni/i);
        expect(host.leftovers()).toEqual(["up0"]);
      },
    );

    it.each(DAMAGES)("is found damaged by CHECK: %s", (_name, spoil, message) => {
      const config = { delegate: { isDefaultGateway: true, ipMasq: true, ipMasqBackend: "nftables" } };
      const { container, result } = add(config);
      spoil(host, container);
      const answer = host.call("CHECK", { container, config: { ...config, prevResult: result } });
      expect(answer.json).toMatchObject({ code: 102, msg: expect.stringMatching(message) });
    });

    it("is kept and freed by GC, and STATUS finds room", () => {
      const [kept] = [add(), add()];
      const latest = { cniVersion: "1.1.0" };
      expect(host.call("STATUS", { config: latest })).toMatchObject({ exitCode: 0, stdout: "" });
      const attachments = [{ containerID: kept?.container.id, ifname: "eth0" }];
      const config = { ...latest, "cni.dev/valid-attachments": attachments };
      expect(host.call("GC", { config })).toMatchObject({ exitCode: 0, stdout: "" });
      expect(host.reservations()).toHaveLength(families.length);
      for (const family of families)
        if (kept) expect(ping(kept.container, GATEWAY[family])).toContain(" 0% packet loss");
    });
  });
});
