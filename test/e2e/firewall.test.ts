/** Traffic that only our rules let through, 100 packets each second, while agents, engines and rules change. */

import { beforeAll, expect, it } from "vitest";
import { fileStoreOf, type Host, MIN_PACKETS, startPing, useLab } from "../support/hosts.ts";
import { describeAsRoot } from "../support/netns.ts";

/** What flanneld makes of its default flags, in each of its modes. */
const FLANNEL_IPTABLES = `*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.2.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.2.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`;
const FLANNEL_NFT = `table ip flannel-ipv4 {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr 10.2.0.0/16 accept
    ip daddr 10.2.0.0/16 accept
  }
}
table ip6 flannel-ipv6 {
}
`;

describeAsRoot("traffic under a FORWARD policy of DROP", () => {
  const lab = useLab("fw");
  let flags: readonly string[];

  beforeAll(async () => {
    flags = [`--store=${await fileStoreOf(lab(), { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } })}`];
    for (const host of [lab().addHost(), lab().addHost()]) {
      await host.daemon.start(...flags);
      host.addContainer();
      host.netns.exec("iptables", ["-P", "FORWARD", "DROP"]);
    }
  });

  const feed = (host: Host, command: string, text: string): void =>
    void host.netns.exec("sh", ["-e", "-c", `printf '%s' "$0" | ${command}`, text]);

  it.each<[string, readonly string[], (host: Host) => Promise<void>]>([
    ["a restart", [], async ({ daemon }) => expect(await daemon.stop()).toBe(0)],
    ["a kill", [], ({ daemon }) => daemon.kill()],
    ["a restart with the check of tunnel sources", ["--tunnel-sources=peers"], ({ daemon }) => daemon.kill()],
    ["a clean stop that ends that check", [], async ({ daemon }) => expect(await daemon.stop()).toBe(0)],
    ["a change to nft", ["--firewall=nft"], ({ daemon }) => daemon.kill()],
    ["a restart with nft", ["--firewall=nft"], ({ daemon }) => daemon.kill()],
    ["a change to iptables", ["--firewall=iptables"], ({ daemon }) => daemon.kill()],
    [
      "a takeover from flanneld with iptables",
      [],
      async (host) => {
        await host.daemon.kill();
        feed(host, "iptables-restore --noflush", FLANNEL_IPTABLES);
      },
    ],
    [
      "a takeover from flanneld with nft",
      [],
      async (host) => {
        await host.daemon.kill();
        feed(host, "cat | nft -f -", FLANNEL_NFT);
      },
    ],
  ])("survives %s without a lost packet", async (_, more, stop) => {
    const [host, other] = lab().hosts;
    const [from, to] = [host?.containers[0], other?.containers[0]];
    if (host === undefined || from === undefined || to === undefined) throw new Error("no containers");
    const running = [startPing(from.netns, to.address), startPing(to.netns, from.address)];
    await stop(host);
    await host.daemon.start(...flags, ...more);
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (const { lost, sent } of await Promise.all(running.map((each) => each.stop()))) {
      expect(lost).toEqual([]);
      expect(sent).toBeGreaterThan(MIN_PACKETS);
    }
    const hasNft = more.includes("--firewall=nft");
    const status = await host.daemon.status();
    expect(status?.problems).toEqual([]);
    expect(status?.firewall).toMatchObject({ engine: hasNft ? "nft" : "iptables", isInSync: true });
    expect(host.netns.exec("nft", ["list", "tables"]).includes("flannel-ipv4")).toBe(hasNft);
    expect(host.netns.exec("iptables-save", [])).toContain("-A FLANNEL-FWD -s 10.2.0.0/16");
    expect(host.netns.exec("iptables-save", ["-t", "raw"]).includes("FLANNEL-TUN-IN")).toBe(!hasNft);
  });
});
