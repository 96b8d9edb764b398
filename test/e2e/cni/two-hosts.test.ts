/** Containers of two hosts, attached by tulle-cni to the subnets that tulled leased. */

import { afterAll, beforeAll, expect, it } from "vitest";
import type { Family } from "../../../ipam/addresses/ip.ts";
import { type AnyJson, type CniContainer, CniHost } from "../../support/cni-host.ts";
import { describeWithEtcd, useEtcdLab } from "../../support/hosts.ts";

const IPV4 = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const IPV6 = { EnableIPv6: true, IPv6Network: "fd00:2::/48", Backend: { Type: "vxlan" } };
/** IP and ICMP. */
const HEADER_BYTES = { 4: 28, 6: 48 } as const satisfies Record<Family, number>;

const CASES: readonly [string, readonly Family[], object][] = [
  ["IPv4", [4], IPV4],
  ["IPv4 and IPv6", [4, 6], { ...IPV4, ...IPV6 }],
  ["IPv6", [6], { ...IPV6, EnableIPv4: false }],
];

for (const [name, families, config] of CASES)
  describeWithEtcd(`tulle-cni on hosts of tulled, with ${name}`, () => {
    const net = useEtcdLab("cnitwo", { hosts: 2, config, families: [4, 6] });
    const hosts: CniHost[] = [];
    const attached: { container: CniContainer; addresses: readonly string[] }[] = [];

    beforeAll(async () => {
      for (const host of [net.host(1), net.host(2)]) hosts.push(new CniHost("two", host));
    });
    afterAll(() => {
      for (const host of hosts) host.dispose();
    });

    /** With packets as large as the network carries. */
    const ping = (from: number, to: number): string =>
      families
        .map((family, index) => {
          const payloadBytes = net.host(1).subnetEnv().mtuBytes - HEADER_BYTES[family];
          const target = attached[to]?.addresses[index] ?? "";
          const options = ["-c2", "-i0.2", "-W2", "-Mdo", `-s${payloadBytes}`];
          return attached[from]?.container.netns.exec("ping", [...options, target]) ?? "";
        })
        .map((report) => / \d+% packet loss/.exec(report)?.[0])
        .join();
    const NO_LOSS = families.map(() => " 0% packet loss").join();

    it("asks to try again until tulled has a lease", () => {
      const [host] = hosts;
      const answer = host?.call("ADD", { container: host.addContainer() });
      expect(answer?.json).toMatchObject({ code: 11 });
    });

    it("attaches containers that reach each other across hosts, with packets of full size", async () => {
      await net.startAll();
      for (const [index, host] of hosts.entries()) {
        const container = host.addContainer();
        const { exitCode, json, stdout } = host.call("ADD", { container });
        expect(exitCode, stdout).toBe(0);
        const own = net.host(index + 1).subnetEnv().subnets;
        expect(json.ips.map(({ gateway }: AnyJson) => gateway)).toEqual(
          families.map((family) => String(own[family]?.address)),
        );
        const addresses = json.ips.map(({ address }: AnyJson) => address.split("/")[0]);
        attached.push({ container, addresses });
      }
      await expect.poll(() => pings(0, 1), { timeout: 10_000 }).toBe(true);
      expect(ping(0, 1)).toBe(NO_LOSS);
      expect(ping(1, 0)).toBe(NO_LOSS);
    });

    it("serves while tulled is stopped", async () => {
      await net.host(1).daemon.stop();
      const [host] = hosts;
      const container = host?.addContainer();
      expect(host?.call("ADD", container && { container }).exitCode).toBe(0);
      expect(host?.call("DEL", container && { container }).exitCode).toBe(0);
      expect(ping(0, 1)).toBe(NO_LOSS);
    });

    it("leaves nothing", () => {
      for (const [index, host] of hosts.entries()) {
        const container = attached[index]?.container;
        expect(host.call("DEL", container && { container }).exitCode).toBe(0);
        expect([...host.reservations(), ...host.stateFiles()]).toEqual([]);
      }
    });

    function pings(from: number, to: number): boolean {
      try {
        return ping(from, to) === NO_LOSS;
      } catch {
        return false; // the first packets may be lost while neighbours are being programmed
      }
    }
  });
