/**
 * One network of hosts with tulled and a host with a real flanneld, which then passes from the one to the other and
 * back in traffic. mixed.test.ts shows the same with a flannel made by hand, everywhere.
 */

import { basename } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FLANNELDS, Flanneld } from "../support/flanneld.ts";
import { type Container, describeWithEtcd, ping, startPing, useEtcdLab } from "../support/hosts.ts";

const NETWORK = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const WAIT = { timeout: 10_000, interval: 50 };
const VARIANTS = [
  { name: "without masquerade", config: NETWORK, flags: [] },
  { name: "with masquerade", config: NETWORK, flags: ["-ip-masq"] },
  { name: "with nftables", config: { ...NETWORK, EnableNFTables: true }, flags: ["-ip-masq"] },
];

if (FLANNELDS.length === 0)
  it.skip("one network with a real flanneld (FLANNELD names none)", () => undefined);

describe.each(FLANNELDS)("one network with %s", (program) => {
  describe.each(VARIANTS)("$name", ({ config, flags }) => {
    describeWithEtcd(basename(program), () => {
      const net = useEtcdLab("flanneld", { hosts: 3, config });
      let flanneld: Flanneld;
      let first: Container;
      let theirs: Container;
      let last: Container;

      /** host1 was there before flanneld, host3 came after it. */
      beforeAll(async () => {
        flanneld = new Flanneld(program, net.host(2));
        await net.host(1).daemon.start(...net.flags, ...flags);
        await flanneld.start(...net.flags, ...flags);
        await net.host(3).daemon.start(...net.flags, ...flags);
        [first, theirs, last] = [net.host(1), net.host(2), net.host(3)].map((host) =>
          host.addContainer(),
        ) as [Container, Container, Container];
      });
      afterAll(() => flanneld?.stop());

      const underlayOf = (host: number): string => net.host(host).address;
      const routes = (host: number): string => net.host(host).run("ip", "route", "show", "dev", "flannel.1");
      const lost = async (from: Container, to: Container): Promise<readonly number[]> =>
        (await ping(from.netns, to.address, 3)).lost;

      it("lets containers reach each other, whoever came first", async () => {
        for (const [from, to] of [
          [first, theirs],
          [theirs, first],
          [last, theirs],
          [theirs, last],
        ] as const)
          await expect.poll(() => lost(from, to), WAIT).toEqual([]);
      });

      it("agrees with it on device, subnet.env and the form of a lease", () => {
        const deviceOf = (host: number) => {
          const [link] = net.host(host).netns.ipJson(["-d", "link", "show", "flannel.1"]) as unknown as [
            { mtu: number; flags: string[]; linkinfo: { info_data: object } },
          ];
          const data = JSON.stringify(link.linkinfo.info_data).replace(underlayOf(host), "");
          return { mtu: link.mtu, flags: link.flags, data };
        };
        expect(deviceOf(1)).toEqual(deviceOf(2));
        const names = (host: number): string[] => net.host(host).subnetFileText().match(/^\w+/gm) ?? [];
        expect(names(1)).toEqual(names(2));
        const leases = [...net.leases().values()];
        const formOf = (host: number): string | undefined =>
          leases
            .find((text) => text.includes(underlayOf(host)))
            ?.replace(underlayOf(host), "")
            .replace(/(?<="VtepMAC":")[^"]*/, "")
            .replace(/,"NodeID":"\w*"/, "");
        expect(formOf(1)).toBe(formOf(2));
      });

      it("takes the host over without a lost packet", async () => {
        const running = [startPing(theirs.netns, first.address), startPing(last.netns, theirs.address)];
        const before = [...net.leases().keys()].sort();
        await flanneld.stop();
        await net.host(2).daemon.start(...net.flags, ...flags);
        await net.host(2).daemon.until(({ kernel }) => kernel.isConverged, "is at rest");
        for (const each of running) expect((await each.stop()).lost).toEqual([]);
        expect([...net.leases().keys()].sort()).toEqual(before);
        expect(routes(2).match(/ proto 116 /g)).toHaveLength(2);
      });

      it("gives it back without a lost packet", async () => {
        const running = [startPing(theirs.netns, first.address), startPing(last.netns, theirs.address)];
        await net.host(2).daemon.stop();
        await flanneld.start(...net.flags, ...flags);
        await expect.poll(() => routes(2), WAIT).not.toContain("proto");
        for (const each of running) expect((await each.stop()).lost).toEqual([]);
      });

      it("is forgotten by it when it leaves, and forgets it when that leaves", async () => {
        const leaseOf = (host: number): string =>
          [...net.leases()].find(([, text]) => text.includes(underlayOf(host)))?.[0] ?? "";
        await net.host(3).daemon.stop();
        const gone = leaseOf(3);
        net.delete(`subnets/${gone}`);
        await expect.poll(() => routes(2), WAIT).not.toContain(gone.replace("-", "/"));
        await flanneld.stop();
        net.delete(`subnets/${leaseOf(2)}`);
        await expect.poll(() => routes(1), WAIT).toBe("");
      });
    });
  });
});
