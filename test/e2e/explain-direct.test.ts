import { describe, expect, it } from "vitest";
import { itNames, useWays } from "../support/explained-ways.ts";
import { FOREIGN_FAULTS } from "../support/foreign-faults.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

describeWithEtcd("explaining a way without a tunnel", () => {
  const config = { Network: "10.2.0.0/16", Backend: { Type: "host-gw" } };
  const net = useEtcdLab("direct", { hosts: 2, config });
  const ways = useWays(net);

  it("follows a packet to the other host", () => {
    const { steps, end } = ways.explain();
    expect(end).toMatchObject({ outcome: "leaves", cause: null });
    expect(end.text).toMatch(/^the packet leaves by eth0 for 10\.2\.[\d.]+ via 192\.168\.50\.12, peer /);
    expect(steps.filter(({ state }) => state !== "ok")).toEqual([]);
  });

  it("names a host that does not answer on the link", async () => {
    ways.inject({ commands: ["ip neigh flush dev eth0"], undo: [] });
    net.host(2).run("ip", "link", "set", "eth0", "down");
    expect(() => ways.from.netns.exec("ping", ["-c1", "-W2", ways.to.address])).toThrow();
    const { end } = ways.explain();
    expect(end).toMatchObject({ outcome: "dropped", cause: "host-down" });
    expect(end.text).toMatch(/nothing answers for 192\.168\.50\.12 on eth0/);
    net.host(2).run("ip", "link", "set", "eth0", "up");
  });

  describe("names", () => itNames(ways, FOREIGN_FAULTS));
});

describeWithEtcd("explaining a way through a program", () => {
  const net = useEtcdLab("program", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "udp" } },
  });
  const ways = useWays(net);

  it("follows a packet to the other host by what the daemon knows", () => {
    const { steps, end } = ways.explain("udp", "53");
    expect(end, JSON.stringify(steps, null, 1)).toMatchObject({ outcome: "leaves", cause: null });
    expect(end.text).toMatch(/by eth0 as packets of the udp backend for 192\.168\.50\.12, peer /);
    const { end: alone } = ways.explain("--run-dir=/nowhere");
    expect(alone).toMatchObject({
      outcome: "unknown",
      text: expect.stringMatching(/the packet enters flannel0; a program/),
    });
  });
});
